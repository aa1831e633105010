"""The pairs of all modalities, read once and summed up for fitting and for choosing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
from numpy.typing import NDArray

from retrieval.alignment.base import FeatureTable
from retrieval.alignment.cca.covariances import BLOCK_ROWS, Covariances
from retrieval.alignment.cca.folds import assign_folds, pair_rows
from retrieval.alignment.cca.linked_covariances import Link, LinkedCovariances
from retrieval.alignment.class_prior import FeatureMap
from retrieval.arrays.lazy import slices
from retrieval.types import Integers, Matrix

POOL_SIZE = 500
"""Validation pairs of a fold that are ranked against one another, at most; fewer a link where there are more."""

COMPARED_ROWS = 512
"""Rows that are compared at once to tell whether a view varies: mostly the first do."""

AXES = {2: 512, 3: 240, 4: 180}
"""Principal axes of a view that take part, at most, by the number of views: one eigenproblem has them all."""


@dataclass(frozen=True)
class PairedViews:
    """Two tables joined by item, read through their lifts in blocks of rows.

    Attributes:
        tables: of the two views.
        lifts: of the two views.
    """

    tables: tuple[FeatureTable, FeatureTable]
    lifts: tuple[FeatureMap, FeatureMap]

    @cached_property
    def rows(self) -> tuple[Integers, Integers]:
        """Two (p,) arrays: the rows of each pair in either table."""
        return pair_rows(self.tables[0].items, self.tables[1].items)

    @property
    def items(self) -> Integers:
        """(p,) item of each pair."""
        return self.tables[0].items[self.rows[0]]

    @cached_property
    def count(self) -> int:
        """Items with a pair."""
        return len(np.unique(self.items))

    def varies(self, view: int) -> bool:
        """Whether the pairs differ in one of their views; the first blocks of rows mostly tell."""
        first = self.features(view, np.arange(1))
        starts = slices(len(self.items), COMPARED_ROWS)
        return any(np.any(self.features(view, np.arange(len(self.items))[rows]) != first) for rows in starts)

    def features(self, view: int, pairs: Integers) -> Matrix:
        """(n, d) feature rows of one view of the pairs numbered."""
        return np.asarray(self.tables[view].features[self.rows[view][pairs]], np.float32)

    def covariances(self, pairs: Integers) -> Covariances:
        """Of the lifted views of the pairs numbered, streamed."""
        total = Covariances.of(*(self._lifted(view, pairs[:0]) for view in (0, 1)))
        for chunk in slices(len(pairs), BLOCK_ROWS):
            total = total.merge(Covariances.of(*(self._lifted(view, pairs[chunk]) for view in (0, 1))))
        return total

    def _lifted(self, view: int, pairs: Integers) -> Matrix:
        return self.lifts[view].apply(self.features(view, pairs))


@dataclass(frozen=True)
class Fold:
    """Items kept out, and the covariances of all the others.

    Attributes:
        part: covariances of the pairs kept out, along the principal axes of all.
        rest: covariances of the pairs to fit on, along the same.
        views: of each link two (q, d_v) feature rows of the pairs to validate on, one pair an item.
    """

    part: LinkedCovariances
    rest: LinkedCovariances
    views: Mapping[Link, tuple[Matrix, Matrix]]


@dataclass(frozen=True)
class PairSummary:
    """All pairs, summed up.

    Attributes:
        items: (n,) those that have a pair, ascending.
        axes: (d_v, k_v) principal axes of each lifted view. With a ridge, those after the first few hundred
            count for little, and without them every solution costs a small part.
        whole: covariances of all pairs along these axes.
        folds: the same in parts; empty where there are too few pairs.
    """

    items: Integers
    axes: tuple[NDArray[np.float64], ...]
    whole: LinkedCovariances
    folds: tuple[Fold, ...]


def summarise_pairs(
    pairs: Mapping[Link, PairedViews],
    count: int,
    seed: int,
    *,
    like: tuple[PairSummary, Link] | None = None,
    max_axes: int | None = None,
    apart: Integers | None = None,
) -> PairSummary:
    """Read every pair once, in ``count`` folds (1: none); a fold is fitted on the whole without it.

    An item is in one fold with all its pairs, whatever their modalities. ``like`` another study, of more
    links, one of which is the only one of these: with the same folds, and the same pairs to validate on.
    ``max_axes`` a view, instead of ``AXES``. With items ``apart`` these are the only fold, for what was fitted
    without them.
    """
    known = like[0].items if like else np.unique(np.concatenate([views.items for views in pairs.values()]))
    fold_of = assign_folds(known, count, seed) if apart is None else np.isin(known, apart).astype(np.int64)
    count = count if apart is None else 2
    of_pairs = {link: fold_of[np.searchsorted(known, views.items)] for link, views in pairs.items()}
    members = [{link: np.flatnonzero(own == fold) for link, own in of_pairs.items()} for fold in range(count)]
    parts = [
        LinkedCovariances({link: pairs[link].covariances(rows) for link, rows in each.items()})
        for each in members
    ]
    whole = reduce(LinkedCovariances.merge, parts)
    axes = tuple(whole.principal_axes(view, max_axes or AXES[whole.views]) for view in range(whole.views))
    turned = whole.rotate(axes)
    if count == 1:
        return PairSummary(known, axes, turned, ())
    random, most = np.random.default_rng(seed), int(POOL_SIZE / len(pairs) ** 0.5)
    kept = []
    for number, (each, part) in enumerate(zip(members, (part.rotate(axes) for part in parts), strict=True)):
        if apart is not None and number == 0:  # what was fitted on tells nothing
            continue
        if like:
            views = {(0, 1): like[0].folds[number].views[like[1]]}
        else:
            views = {link: _pool(pairs[link], rows, most, random) for link, rows in each.items()}
        kept.append(Fold(part, turned.without(part), views))
    return PairSummary(known, axes, turned, tuple(kept))


def _pool(
    views: PairedViews, pairs: Integers, most: int, random: np.random.Generator
) -> tuple[Matrix, Matrix]:
    """Feature rows of at most so many of the pairs, one an item."""
    pool = pairs[np.unique(views.items[pairs], return_index=True)[1]]
    pool = np.sort(random.permutation(pool)[:most])
    return views.features(0, pool), views.features(1, pool)
