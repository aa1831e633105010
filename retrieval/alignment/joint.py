"""One block for all modalities from what their pairs have in common, its settings chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from retrieval.alignment.cca import CanonicalMaps, solve
from retrieval.alignment.evidence import Evidence, weigh
from retrieval.alignment.linked import Link
from retrieval.alignment.prior import Lift
from retrieval.alignment.projector import Block, Projector
from retrieval.alignment.study import Study
from retrieval.types import Matrix

DIMENSION = 256
"""Canonical components kept, at most; their correlations weigh down the useless ones."""

RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
START = RIDGES.index(1.0)
POWERS = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Choice:
    """The settings that the pairs speak for, and how well they did.

    Attributes:
        ridge: relative to each view's mean variance.
        power: of the correlations that weight the components.
        correlations: (k,) float64, of each component in the items it was not fitted on.
        evidence: of these settings on the folds, by link; its last weight is the canonical block's.
        loss: mean over the links' items.
    """

    ridge: float
    power: float
    correlations: NDArray[np.float64]
    evidence: Mapping[Link, Evidence]
    loss: float


def canonical_blocks(
    maps: CanonicalMaps,
    shares: NDArray[np.float64],
    lifts: Sequence[Lift],
    axes: Sequence[NDArray[np.float64]],
) -> list[Block]:
    """One block a view, its canonical variates weighted.

    Args:
        maps: of the views along ``axes``.
        shares: weights of the components; those without one are left out.
        lifts: of the views.
        axes: (d_v, k_v), one array a view.
    """
    kept = min(len(shares), len(maps.correlations))
    blocks = []
    for lift, weights, center, basis in zip(lifts, maps.weights, maps.centers, axes, strict=True):
        weighted = weights[:, :kept] * shares[:kept]
        blocks.append(
            lift.block((basis @ weighted).astype(np.float32), (center @ weighted).astype(np.float32))
        )
    return blocks


def choose(pairs: Study, lifts: Sequence[Lift], known: Mapping[int, Projector]) -> Choice:
    """The ridge and power, with the weights of all blocks, that make held-out partners likeliest.

    Component i counts by rho_i ** power in each view: Gong et al., "A multi-view embedding space for modeling
    internet images, tags, and their semantics" (2014). Theirs is the correlation of the fit; ours that
    in the folds that the fit did not see, for where few different things are seen often (ten digits,
    a thousand takes) a fit finds high correlations in what the items have in common by chance.

    Ridges are tried from the middle of the ladder outwards in the direction that helps, each at every power.

    Args:
        pairs: with folds.
        lifts: of the views.
        known: by view a projector whose blocks need no fitting, for the views that have one.
    """
    fixed = [
        {link: _similarities([known.get(view) for view in link], rows) for link, rows in fold.views.items()}
        for fold in pairs.folds
    ]

    @cache
    def best(step: int) -> Choice:
        fits = [solve(fold.rest, RIDGES[step], DIMENSION) for fold in pairs.folds]
        seen = _held_out(fits, pairs)
        return min(
            (_tried(RIDGES[step], power, seen, fits, fixed, pairs, lifts) for power in POWERS),
            key=lambda choice: choice.loss,
        )

    here = START
    for direction in (1, -1):
        while 0 <= here + direction < len(RIDGES) and best(here + direction).loss < best(here).loss:
            here += direction
    return best(here)


def _held_out(fits: Sequence[CanonicalMaps], pairs: Study) -> NDArray[np.float64]:
    """(k,) correlations in the folds left out, the better of neighbours first: their order is the fit's."""
    count = min(len(maps.correlations) for maps in fits)
    seen = [maps.correlations_on(fold.part)[:count] for maps, fold in zip(fits, pairs.folds, strict=True)]
    if not count:
        return np.zeros(0)
    falling = isotonic_regression(np.mean(seen, axis=0), increasing=False).x
    return np.clip(falling, 0.0, 1.0)


def _tried(
    ridge: float,
    power: float,
    seen: NDArray[np.float64],
    fits: Sequence[CanonicalMaps],
    fixed: Sequence[Mapping[Link, list[Matrix]]],
    pairs: Study,
    lifts: Sequence[Lift],
) -> Choice:
    pools: dict[Link, list[Matrix]] = {link: [] for link in pairs.whole.links}
    for maps, ready, fold in zip(fits, fixed, pairs.folds, strict=True):
        fitted = _projectors(canonical_blocks(maps, seen**power, lifts, pairs.axes), lifts)
        for link, rows in fold.views.items():
            if len(rows[0]) > 1:  # one pair alone cannot be mistaken for another
                own = _similarities([fitted[view] for view in link], rows)
                pools[link].append(np.stack([*ready[link], *own]))
    evidence = {link: weigh(pool) for link, pool in pools.items() if pool}
    sizes = [sum(len(pool[0]) for pool in pools[link]) for link in evidence]
    loss = float(np.average([each.loss for each in evidence.values()], weights=sizes))
    return Choice(ridge, power, seen, evidence, loss)


def _projectors(fitted: Sequence[Block], lifts: Sequence[Lift]) -> list[Projector]:
    one = np.ones(1, np.float32)
    return [
        Projector(lift.dimension, (block,), one, lift.mixture)
        for block, lift in zip(fitted, lifts, strict=True)
    ]


def _similarities(projectors: Sequence[Projector | None], rows: tuple[Matrix, Matrix]) -> list[Matrix]:
    """(q, q) cosines of a fold's pairs, a matrix a block; none where a view has no projector."""
    first, second = projectors
    if first is None or second is None:
        return []
    return [left @ right.T for left, right in zip(first.parts(rows[0]), second.parts(rows[1]), strict=True)]
