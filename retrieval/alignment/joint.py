"""One space of what the class prior says and what the pairs say, weighed by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from retrieval.alignment.base import FeatureTable
from retrieval.alignment.cca import CanonicalMaps, solve
from retrieval.alignment.covariances import Covariances
from retrieval.alignment.evidence import Evidence, weigh
from retrieval.alignment.pairs import folds, join
from retrieval.alignment.prior import Lift
from retrieval.alignment.projector import Block, Projector, blocks
from retrieval.types import Integers, Matrix

FOLDS = 5
POOL = 500
"""Validation pairs of a fold that are ranked against one another, at most."""

DIMENSION = 256
"""Canonical components kept, at most; their correlations weigh down the useless ones."""

AXES = 512
"""Principal axes of a view that take part, at most."""

RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
START = RIDGES.index(1.0)
POWERS = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class PairedViews:
    """Two tables joined by item, read through their lifts in blocks of rows.

    Attributes:
        tables: of the two views.
        lifts: of the two views.
    """

    tables: tuple[FeatureTable, FeatureTable]
    lifts: tuple[Lift, Lift]

    @cached_property
    def rows(self) -> tuple[Integers, Integers]:
        """Two (p,) arrays: the rows of each pair in either table."""
        return join(self.tables[0].items, self.tables[1].items)

    @property
    def items(self) -> Integers:
        """(p,) item of each pair."""
        return self.tables[0].items[self.rows[0]]

    @property
    def count(self) -> int:
        """Items with a pair."""
        return len(np.unique(self.items))

    def features(self, view: int, pairs: Integers) -> Matrix:
        """(n, d) feature rows of one view of the pairs numbered."""
        return np.asarray(self.tables[view].features[self.rows[view][pairs]], np.float32)

    def covariances(self, pairs: Integers) -> Covariances:
        """Of the lifted views of the pairs numbered, streamed."""
        total = Covariances.of(*(self._lifted(view, pairs[:0]) for view in (0, 1)))
        for chunk in blocks(len(pairs)):
            total = total.merge(Covariances.of(*(self._lifted(view, pairs[chunk]) for view in (0, 1))))
        return total

    def _lifted(self, view: int, pairs: Integers) -> Matrix:
        return self.lifts[view].apply(self.features(view, pairs))


@dataclass(frozen=True)
class Fold:
    """Pairs kept out, and the covariances of all the others.

    Attributes:
        rest: covariances of the pairs to fit on, along the principal axes of all.
        views: two (q, d_v) feature rows of the pairs to validate on, one pair an item.
    """

    rest: Covariances
    views: tuple[Matrix, Matrix]


@dataclass(frozen=True)
class Study:
    """All pairs, summed up for fitting and for choosing.

    Attributes:
        axes: (d_v, k_v) principal axes of each lifted view. With a ridge, those after the first few hundred
            count for little, and without them every solution costs a small part.
        whole: covariances of all pairs along these axes.
        folds: the same in parts; empty where there are too few pairs.
    """

    axes: tuple[NDArray[np.float64], NDArray[np.float64]]
    whole: Covariances
    folds: tuple[Fold, ...]


@dataclass(frozen=True)
class Choice:
    """The settings that the pairs speak for, and how well they did.

    Attributes:
        ridge: relative to each view's mean variance.
        power: of the correlations that weight the components.
        evidence: of these settings on the folds; its last weight is the canonical block's.
    """

    ridge: float
    power: float
    evidence: Evidence


def study(views: PairedViews, count: int, seed: int) -> Study:
    """Read every pair once, in ``count`` folds (1: none); a fold is fitted on the whole without it."""
    fold_of = folds(views.items, count, seed)
    members = [np.flatnonzero(fold_of == fold) for fold in range(count)]
    parts = [views.covariances(pairs) for pairs in members]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.merge(part)
    axes = (whole.principal_axes(0, AXES), whole.principal_axes(1, AXES))
    parts = [part.rotate(*axes) for part in parts]
    turned = whole.rotate(*axes)
    random = np.random.default_rng(seed)
    kept = []
    for part, pairs in zip(parts, members, strict=True):
        pool = pairs[np.unique(views.items[pairs], return_index=True)[1]]
        pool = np.sort(random.permutation(pool)[:POOL])
        rows = (views.features(0, pool), views.features(1, pool))
        kept.append(Fold(turned.without(part), rows))
    return Study(axes, turned, tuple(kept) if count > 1 else ())


def canonical_blocks(
    maps: CanonicalMaps, power: float, lifts: Sequence[Lift], axes: Sequence[NDArray[np.float64]]
) -> list[Block]:
    """One block a view, its canonical variates weighted by their correlations.

    Component i counts by rho_i ** power in each view: Gong et al., "A multi-view embedding space for modeling
    internet images, tags, and their semantics" (2014).

    Args:
        maps: of the views along ``axes``.
        power: of the correlations.
        lifts: of the views.
        axes: (d_v, k_v), one array a view.
    """
    blocks_ = []
    for lift, weights, center, basis in zip(lifts, maps.weights, maps.centers, axes, strict=True):
        weighted = weights * maps.correlations**power
        blocks_.append(
            lift.block((basis @ weighted).astype(np.float32), (center @ weighted).astype(np.float32))
        )
    return blocks_


def choose(pairs: Study, lifts: Sequence[Lift], known: Sequence[Projector]) -> Choice:
    """The ridge and power, with the weights of all blocks, that make held-out partners likeliest.

    Ridges are tried from the middle of the ladder outwards in the direction that helps, each at every power.

    Args:
        pairs: with folds.
        lifts: of the views.
        known: one projector a view whose blocks need no fitting, or none.
    """
    fixed = [_similarities(known, fold) if known else [] for fold in pairs.folds]

    @cache
    def best(step: int) -> Choice:
        pools: dict[float, list[Matrix]] = {power: [] for power in POWERS}
        for fold, ready in zip(pairs.folds, fixed, strict=True):
            maps = solve(fold.rest, RIDGES[step], DIMENSION)
            for power, pool in pools.items():
                fitted = _projectors(canonical_blocks(maps, power, lifts, pairs.axes), lifts)
                pool.append(np.stack([*ready, *_similarities(fitted, fold)]))
        found = [Choice(RIDGES[step], power, weigh(pool)) for power, pool in pools.items()]
        return min(found, key=lambda choice: choice.evidence.loss)

    here = START
    for direction in (1, -1):
        while (
            0 <= here + direction < len(RIDGES)
            and best(here + direction).evidence.loss < best(here).evidence.loss
        ):
            here += direction
    return best(here)


def _projectors(fitted: Sequence[Block], lifts: Sequence[Lift]) -> list[Projector]:
    one = np.ones(1, np.float32)
    return [
        Projector(lift.dimension, (block,), one, lift.mixture)
        for block, lift in zip(fitted, lifts, strict=True)
    ]


def _similarities(projectors: Sequence[Projector], fold: Fold) -> list[Matrix]:
    """(q, q) cosines of a fold's pairs, a matrix a block."""
    first, second = (projector.parts(rows) for projector, rows in zip(projectors, fold.views, strict=True))
    return [left @ right.T for left, right in zip(first, second, strict=True)]
