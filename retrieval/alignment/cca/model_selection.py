"""One block for all modalities from what their pairs have in common, its settings chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from retrieval.alignment.cca.linked_covariances import Link
from retrieval.alignment.cca.paired_views import PairSummary
from retrieval.alignment.cca.similarity_weights import MatchEvidence, fit_weights
from retrieval.alignment.cca.solver import CanonicalMaps, solve
from retrieval.alignment.class_prior import FeatureMap
from retrieval.alignment.maps.projector import Block, Projector
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
        confirmed: (k,) float64, correlations of the components in the items they were not fitted on; None where
            those of the fit weight them.
        evidence: of these settings on the folds, by link; its last weight is the canonical block's.
        loss: mean over the links' items.
    """

    ridge: float
    power: float
    confirmed: NDArray[np.float64] | None
    evidence: Mapping[Link, MatchEvidence]
    loss: float


def canonical_blocks(
    maps: CanonicalMaps,
    shares: NDArray[np.float64],
    lifts: Sequence[FeatureMap],
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


def choose_settings(
    pairs: PairSummary, lifts: Sequence[FeatureMap], known: Mapping[int, Projector]
) -> Choice:
    """The ridge and power, with the weights of all blocks, that make held-out partners likeliest.

    Component i counts by rho_i ** power in each view: Gong et al., "A multi-view embedding space for modeling
    internet images, tags, and their semantics" (2014). Theirs is the correlation of the fit. Where few
    different things are seen often (ten digits, a thousand takes), a fit finds high correlations in what
    the items have in common by chance; there it is the one in the folds left out, if that is better by
    more than a standard error.

    Ridges are tried from the middle of the ladder outwards in the direction that helps, each at every power.

    Args:
        pairs: with folds.
        lifts: of the views.
        known: by view a projector whose blocks need no fitting, for the views that have one.
    """
    trials = _Trials(pairs, lifts, known)

    def climb(confirmed: bool) -> Choice:
        best, here = partial(trials.best, confirmed), START
        for direction in (1, -1):
            while 0 <= here + direction < len(RIDGES) and best(here + direction).loss < best(here).loss:
                here += direction
        return best(here)

    usual, confirmed = climb(False), climb(True)
    gains = [own.losses - confirmed.evidence[link].losses for link, own in usual.evidence.items()]
    gain = np.concatenate(gains)
    return confirmed if gain.mean() > gain.std() / len(gain) ** 0.5 else usual


@dataclass(frozen=True)
class _Trials:
    """What settings are worth; every ridge is solved once.

    Attributes:
        pairs: with folds.
        lifts: of the views.
        known: by view a projector whose blocks need no fitting.
    """

    pairs: PairSummary
    lifts: Sequence[FeatureMap]
    known: Mapping[int, Projector]
    _done: dict[tuple[bool, int], Choice] = field(default_factory=dict)
    _fits: dict[int, list[CanonicalMaps]] = field(default_factory=dict)

    @cached_property
    def _fixed(self) -> list[dict[Link, list[Matrix]]]:
        return [
            {
                link: _similarities([self.known.get(view) for view in link], rows)
                for link, rows in fold.views.items()
            }
            for fold in self.pairs.folds
        ]

    def best(self, confirmed: bool, step: int) -> Choice:
        """The best power at a ridge."""
        if step not in self._fits:
            self._fits[step] = [solve(fold.training, RIDGES[step], DIMENSION) for fold in self.pairs.folds]
        if (confirmed, step) not in self._done:
            seen = _held_out(self._fits[step], self.pairs) if confirmed else None
            tried = (self._tried(step, power, seen) for power in POWERS)
            self._done[confirmed, step] = min(tried, key=lambda choice: choice.loss)
        return self._done[confirmed, step]

    def _tried(self, step: int, power: float, confirmed: NDArray[np.float64] | None) -> Choice:
        fitted = []
        for maps in self._fits[step]:
            shares = (maps.correlations if confirmed is None else confirmed) ** power
            fitted.append(canonical_blocks(maps, shares, self.lifts, self.pairs.axes))
        evidence, loss = evaluate_blocks(self.pairs, self.lifts, fitted, self._fixed)
        return Choice(RIDGES[step], power, confirmed, evidence, loss)


def evaluate_blocks(
    pairs: PairSummary,
    lifts: Sequence[FeatureMap],
    fitted: Sequence[Sequence[Block]],
    beside: Sequence[Mapping[Link, list[Matrix]]] | None = None,
) -> tuple[dict[Link, MatchEvidence], float]:
    """How well blocks find the partners of the folds that they were not fitted on: by link, and the mean loss.

    Args:
        pairs: with folds.
        lifts: of the views.
        fitted: a fold each, one block a view.
        beside: similarities of further blocks, a fold each and by link.
    """
    pools: dict[Link, list[Matrix]] = {link: [] for link in pairs.whole.links}
    for number, (blocks, fold) in enumerate(zip(fitted, pairs.folds, strict=True)):
        projectors = _projectors(blocks, lifts)
        for link, rows in fold.views.items():
            if len(rows[0]) > 1:  # one pair alone cannot be mistaken for another
                own = _similarities([projectors[view] for view in link], rows)
                pools[link].append(np.stack([*(beside[number][link] if beside else ()), *own]))
    evidence = {link: fit_weights(pool) for link, pool in pools.items() if pool}
    sizes = [sum(len(pool[0]) for pool in pools[link]) for link in evidence]
    return evidence, float(np.average([each.loss for each in evidence.values()], weights=sizes))


def _held_out(fits: Sequence[CanonicalMaps], pairs: PairSummary) -> NDArray[np.float64]:
    """(k,) mean correlations in the folds left out, falling as those of the fits do."""
    count = min(len(maps.correlations) for maps in fits)
    if not count:
        return np.zeros(0)
    seen = [maps.correlations_on(fold.held_out)[:count] for maps, fold in zip(fits, pairs.folds, strict=True)]
    falling: NDArray[np.float64] = isotonic_regression(np.mean(seen, axis=0), increasing=False).x
    return falling.clip(0.0, 1.0)


def _projectors(fitted: Sequence[Block], lifts: Sequence[FeatureMap]) -> list[Projector]:
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
    return [
        left @ right.T
        for left, right in zip(first.project_blocks(rows[0]), second.project_blocks(rows[1]), strict=True)
    ]
