"""Canonical subspaces: one of all links, and one of the best-linked two modalities if that ranks better."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.alignment.cca.linked_covariances import Link
from retrieval.alignment.cca.linked_modalities import Connections
from retrieval.alignment.cca.model_selection import DIMENSION, Choice, canonical_blocks, choose_settings
from retrieval.alignment.cca.paired_views import PairSummary, summarise_pairs
from retrieval.alignment.cca.similarity_weights import MatchEvidence
from retrieval.alignment.cca.solver import solve
from retrieval.alignment.class_prior import FeatureMap
from retrieval.alignment.maps.projector import Block, Projector
from retrieval.errors import AlignmentError
from retrieval.types import Modality

FOLDS = 5
DEFAULT_RIDGE, DEFAULT_POWER = 1.0, 1.0

MIN_SHARE = 0.05
"""Minimum share of the norm for a subspace that is the only one of some modality."""


@dataclass(frozen=True)
class CanonicalSubspaces:
    """Canonical subspaces, and the evidence for them.

    Attributes:
        connections: the links of ``joint``.
        joint: the settings for all links together; None if there were too few items to choose.
        core: the link and settings of two modalities by themselves, if these match better that way.
        blocks: by subspace name, then by modality; the joint subspace is the last.
    """

    connections: Connections
    joint: Choice | None
    core: tuple[Connections, Choice] | None
    blocks: Mapping[str, Mapping[Modality, Block]]

    def weights(self, *, prior_subspaces: int, prior_modalities: Collection[Modality]) -> NDArray[np.float64]:
        """Return the (P,) weights of the prior's subspaces and then of these, from the evidence of their links.

        If two modalities share only one subspace, its weight does not change their ranking.

        Args:
            prior_subspaces: number of subspaces of the prior.
            prior_modalities: modalities in the prior.
        """
        weights = np.zeros(prior_subspaces + len(self.blocks))
        joint = _mean_weights(self.connections, self.joint, prior_subspaces)
        if self.core is None:
            weights[:] = np.ones(len(weights)) if joint is None else joint
        else:
            core = _mean_weights(*self.core, prior_subspaces)
            weights[:-1] = np.ones(prior_subspaces + 1) if core is None else core
            others = _mean_weights(self.connections, self.joint, prior_subspaces, excluded=self._core_link)
            others_prior = 0.0 if others is None else float(others[:-1].sum())
            if prior_subspaces and others is not None and others_prior:
                # The same ratio to the prior's subspaces as in the other links that use both.
                weights[-1] = others[-1] * weights[:prior_subspaces].sum() / others_prior
            weights[-1] = max(weights[-1], MIN_SHARE * weights[:-1].sum())
        if not set(prior_modalities) <= set(self.connections.modalities):
            weights[:prior_subspaces] = np.maximum(weights[:prior_subspaces], MIN_SHARE)
        return weights

    @property
    def _core_link(self) -> Link | None:
        return None if self.core is None else self.connections.link(self.core[0].modalities)


def fit_canonical(
    connections: Connections,
    feature_maps: Mapping[Modality, FeatureMap],
    known: Mapping[Modality, Projector],
    seed: int,
) -> tuple[CanonicalSubspaces, dict[str, Any]]:
    """Fit the canonical subspaces, and report on them.

    All links together give one joint subspace. But a few pairs of a third modality can spoil what many pairs of two
    others have established. So the two modalities with the most common items get a subspace of their own, if it ranks
    their held-out items better by more than a standard error over the folds.

    Args:
        connections: at least one link.
        feature_maps: by modality.
        known: projectors of the prior, for the modalities it covers.
        seed: seed of the folds.

    Raises:
        AlignmentError: the pairs show no correlation.
    """
    links = connections.pairs
    summary = summarise_pairs(links, FOLDS if connections.can_validate else 1, seed)
    joint = _choose(connections, summary, feature_maps, known)
    blocks, report = _fit(connections, summary, joint, feature_maps)
    if joint is None:
        report["reason"] = "no two modalities have many items in common: settings are defaults"
        return CanonicalSubspaces(connections, None, None, {"cca": blocks}), report
    report |= _validation_report(connections, joint)
    best = max(links, key=lambda link: links[link].count)
    if len(links) > 1 and best in joint.evidence:
        core_link = connections.only(best)
        core_summary = summarise_pairs(core_link.pairs, FOLDS, seed, same_folds_as=(summary, best))
        core = _choose(core_link, core_summary, feature_maps, known)
        if core and _better(core.evidence[0, 1], joint.evidence[best]):
            core_blocks, core_report = _fit(core_link, core_summary, core, feature_maps)
            report["core"] = core_report | _validation_report(core_link, core)
            name = f"cca {'-'.join(core_link.modalities)}"
            subspaces = {name: core_blocks, "cca": blocks}
            return CanonicalSubspaces(connections, joint, (core_link, core), subspaces), report
    return CanonicalSubspaces(connections, joint, None, {"cca": blocks}), report


def _choose(
    connections: Connections,
    summary: PairSummary,
    feature_maps: Mapping[Modality, FeatureMap],
    known: Mapping[Modality, Projector],
) -> Choice | None:
    if not connections.can_validate:
        return None
    views = connections.modalities
    known_by_view = {view: known[modality] for view, modality in enumerate(views) if modality in known}
    return choose_settings(summary, [feature_maps[modality] for modality in views], known_by_view)


def _fit(
    connections: Connections,
    summary: PairSummary,
    choice: Choice | None,
    feature_maps: Mapping[Modality, FeatureMap],
) -> tuple[dict[Modality, Block], dict[str, Any]]:
    """Fit one subspace on all pairs with the chosen settings, or with the defaults."""
    ridge, power = (choice.ridge, choice.power) if choice else (DEFAULT_RIDGE, DEFAULT_POWER)
    maps = solve(summary.whole, ridge, DIMENSION)
    confirmed = choice.confirmed if choice else None
    correlations = maps.correlations if confirmed is None else confirmed[confirmed > 0]
    if len(correlations) == 0:
        raise AlignmentError(
            f"{connections.count} pairs show no correlation that held-out pairs confirm: "
            "give pairs that differ in content"
        )
    views = connections.modalities
    fitted = canonical_blocks(
        maps, correlations**power, [feature_maps[modality] for modality in views], summary.axes
    )
    return dict(zip(views, fitted, strict=True)), {
        "ridge": ridge,
        "power": power,
        "confirmed": confirmed is not None,
        "components": len(fitted[0].offset),
        "correlations": [round(float(value), 4) for value in correlations[:10]],
    }


def _better(core: MatchEvidence, joint: MatchEvidence) -> bool:
    """Return whether the core's loss on a link is lower by more than a standard error over the folds."""
    gains = joint.losses - core.losses
    return bool(gains.mean() > gains.std() / len(gains) ** 0.5)


def _mean_weights(
    connections: Connections, choice: Choice | None, prior_subspaces: int, excluded: Link | None = None
) -> NDArray[np.float64] | None:
    """Return the (B,) mean weights of the prior's subspaces and a canonical one, over the links that have all."""
    weights, count = np.zeros(prior_subspaces + 1), 0
    for link, evidence in choice.evidence.items() if choice else ():
        total = evidence.weights.sum()
        if link != excluded and len(evidence.weights) == len(weights) and total > 0:
            items = connections.pairs[link].count
            weights, count = weights + items * evidence.weights / total, count + items
    return weights / count if count else None


def _validation_report(connections: Connections, choice: Choice) -> dict[str, Any]:
    links = {
        connections.name(link): {
            "pairs": len(connections.pairs[link].items),
            "items": connections.pairs[link].count,
            "validation_loss": evidence.loss,
            "validation_mrr": evidence.mrr,
        }
        for link, evidence in choice.evidence.items()
    }
    return {"folds": FOLDS, "validation_loss": choice.loss, "links": links}
