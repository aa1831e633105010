"""Canonical blocks of all modalities, with settings chosen by cross-validation."""

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
"""Maximum number of canonical components; weights by their correlations suppress the useless ones."""

RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
START = RIDGES.index(1.0)
POWERS = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Choice:
    """The settings chosen by cross-validation, and how well they did.

    Attributes:
        ridge: relative to each view's mean variance.
        power: exponent of the correlations that weight the components.
        confirmed: (k,) float64, correlations of the components on held-out items; None if the components are
            weighted by the correlations of the fit.
        evidence: by link, the match on held-out folds with these settings; the last weight is the canonical block's.
        loss: mean loss, weighted by the items of each link.
    """

    ridge: float
    power: float
    confirmed: NDArray[np.float64] | None
    evidence: Mapping[Link, MatchEvidence]
    loss: float


def canonical_blocks(
    maps: CanonicalMaps,
    component_weights: NDArray[np.float64],
    feature_maps: Sequence[FeatureMap],
    axes: Sequence[NDArray[np.float64]],
) -> list[Block]:
    """Return one block per view: its canonical variates, weighted.

    Args:
        maps: of the views along ``axes``.
        component_weights: components beyond the last weight are dropped.
        feature_maps: one per view.
        axes: (d_v, k_v), one array per view.
    """
    count = min(len(component_weights), len(maps.correlations))
    blocks = []
    for feature_map, weights, center, basis in zip(
        feature_maps, maps.weights, maps.centers, axes, strict=True
    ):
        weighted = weights[:, :count] * component_weights[:count]
        blocks.append(
            feature_map.block(
                weights=(basis @ weighted).astype(np.float32), offset=(center @ weighted).astype(np.float32)
            )
        )
    return blocks


def choose_settings(
    summary: PairSummary, feature_maps: Sequence[FeatureMap], known: Mapping[int, Projector]
) -> Choice:
    """Choose the ridge, the power and the weights of all blocks that maximise the likelihood of held-out partners.

    Component i is weighted by rho_i ** power in each view: Gong et al., "A multi-view embedding space for modeling
    internet images, tags, and their semantics" (2014). There, rho is the correlation of the fit. If a few different
    things are repeated often (ten digits, a thousand takes), a fit finds high correlations that the items have by
    chance. The correlation on held-out folds is then used instead, if its loss is lower by more than a standard error.

    Ridges are tried from the middle of ``RIDGES`` in the direction that lowers the loss, each with every power.

    Args:
        summary: with folds.
        feature_maps: one per view.
        known: by view, a projector whose blocks need no fitting, for the views that have one.
    """
    trials = _Trials(summary, feature_maps, known)

    def best_choice(confirmed: bool) -> Choice:
        best, step = partial(trials.best, confirmed), START
        for direction in (1, -1):
            while 0 <= step + direction < len(RIDGES) and best(step + direction).loss < best(step).loss:
                step += direction
        return best(step)

    usual, confirmed = best_choice(False), best_choice(True)
    gains = [evidence.losses - confirmed.evidence[link].losses for link, evidence in usual.evidence.items()]
    gain = np.concatenate(gains)
    return confirmed if gain.mean() > gain.std() / len(gain) ** 0.5 else usual


@dataclass(frozen=True)
class _Trials:
    """Results of the settings tried so far; each ridge is solved once.

    Attributes:
        summary: with folds.
        feature_maps: one per view.
        known: by view, a projector whose blocks need no fitting.
    """

    summary: PairSummary
    feature_maps: Sequence[FeatureMap]
    known: Mapping[int, Projector]
    _choices: dict[tuple[bool, int], Choice] = field(default_factory=dict)
    _fits: dict[int, list[CanonicalMaps]] = field(default_factory=dict)

    @cached_property
    def _known_similarities(self) -> list[dict[Link, list[Matrix]]]:
        return [
            {
                link: _similarities([self.known.get(view) for view in link], rows)
                for link, rows in fold.views.items()
            }
            for fold in self.summary.folds
        ]

    def best(self, confirmed: bool, step: int) -> Choice:
        """Return the best power for the ridge ``RIDGES[step]``."""
        if step not in self._fits:
            self._fits[step] = [solve(fold.training, RIDGES[step], DIMENSION) for fold in self.summary.folds]
        if (confirmed, step) not in self._choices:
            correlations = _held_out_correlations(self._fits[step], self.summary) if confirmed else None
            choices = (self._evaluate(step, power, correlations) for power in POWERS)
            self._choices[confirmed, step] = min(choices, key=lambda choice: choice.loss)
        return self._choices[confirmed, step]

    def _evaluate(self, step: int, power: float, confirmed: NDArray[np.float64] | None) -> Choice:
        fitted = []
        for maps in self._fits[step]:
            weights = (maps.correlations if confirmed is None else confirmed) ** power
            fitted.append(canonical_blocks(maps, weights, self.feature_maps, self.summary.axes))
        evidence, loss = evaluate_blocks(self.summary, self.feature_maps, fitted, self._known_similarities)
        return Choice(RIDGES[step], power, confirmed, evidence, loss)


def evaluate_blocks(
    summary: PairSummary,
    feature_maps: Sequence[FeatureMap],
    fitted: Sequence[Sequence[Block]],
    known_similarities: Sequence[Mapping[Link, list[Matrix]]] | None = None,
) -> tuple[dict[Link, MatchEvidence], float]:
    """Return how well blocks match the pairs of their held-out folds, by link, and the mean loss.

    Args:
        summary: with folds.
        feature_maps: one per view.
        fitted: for each fold, one block per view.
        known_similarities: for each fold and by link, the similarities of further blocks.
    """
    pools: dict[Link, list[Matrix]] = {link: [] for link in summary.whole.links}
    for number, (blocks, fold) in enumerate(zip(fitted, summary.folds, strict=True)):
        projectors = _projectors(blocks, feature_maps)
        for link, rows in fold.views.items():
            if len(rows[0]) > 1:  # a single pair has no wrong partner
                similarities = _similarities([projectors[view] for view in link], rows)
                known = known_similarities[number][link] if known_similarities else ()
                pools[link].append(np.stack([*known, *similarities]))
    evidence = {link: fit_weights(pool) for link, pool in pools.items() if pool}
    sizes = [sum(len(pool[0]) for pool in pools[link]) for link in evidence]
    return evidence, float(np.average([each.loss for each in evidence.values()], weights=sizes))


def _held_out_correlations(fits: Sequence[CanonicalMaps], summary: PairSummary) -> NDArray[np.float64]:
    """Return the (k,) mean correlations on the held-out folds, made non-increasing like those of the fits."""
    count = min(len(maps.correlations) for maps in fits)
    if not count:
        return np.zeros(0)
    by_fold = [
        maps.correlations_on(fold.held_out)[:count] for maps, fold in zip(fits, summary.folds, strict=True)
    ]
    falling: NDArray[np.float64] = isotonic_regression(np.mean(by_fold, axis=0), increasing=False).x
    return falling.clip(0.0, 1.0)


def _projectors(blocks: Sequence[Block], feature_maps: Sequence[FeatureMap]) -> list[Projector]:
    scales = np.ones(1, np.float32)
    return [
        Projector(feature_map.dimension, (block,), scales, feature_map.mixture)
        for block, feature_map in zip(blocks, feature_maps, strict=True)
    ]


def _similarities(projectors: Sequence[Projector | None], rows: tuple[Matrix, Matrix]) -> list[Matrix]:
    """Return the (q, q) cosines of a fold's pairs, one matrix per block; none if a view has no projector."""
    first, second = projectors
    if first is None or second is None:
        return []
    return [
        left @ right.T
        for left, right in zip(first.project_blocks(rows[0]), second.project_blocks(rows[1]), strict=True)
    ]
