"""The canonical parts of a space: one of all that is linked, and one of the two best-linked where that is better."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.alignment.cca.linked_covariances import Link
from retrieval.alignment.cca.model_selection import DIMENSION, Choice, canonical_blocks, choose_settings
from retrieval.alignment.cca.paired_views import PairSummary, summarise_pairs
from retrieval.alignment.cca.similarity_weights import MatchEvidence
from retrieval.alignment.cca.solver import solve
from retrieval.alignment.class_prior import FeatureMap
from retrieval.alignment.linked_modalities import Connections
from retrieval.alignment.maps.projector import Block, Projector
from retrieval.errors import AlignmentError
from retrieval.types import Modality

FOLDS = 5
DEFAULT_RIDGE, DEFAULT_POWER = 1.0, 1.0

MIN_SHARE = 0.05
"""Share of the norm that a part keeps which some modality has nothing else than."""


@dataclass(frozen=True)
class CanonicalSubspaces:
    """Canonical parts, and what speaks for them.

    Attributes:
        connections: the links of ``joint``.
        joint: the settings for all links at once; None where there were too few items to choose.
        core: the same for two modalities by themselves, where these find each other better so.
        blocks: of each part, by modality; the joint part is the last.
    """

    connections: Connections
    joint: Choice | None
    core: tuple[Connections, Choice] | None
    blocks: Mapping[str, Mapping[Modality, Block]]

    def weights(self, *, prior_parts: int, readers: Collection[Modality]) -> NDArray[np.float64]:
        """(P,) of the prior's parts, then of these, as the evidence of the links in which they meet has them.

        A link in which one part alone meets has an order whatever that part's weight. ``readers`` are the
        modalities that the prior knows.
        """
        shares = np.zeros(prior_parts + len(self.blocks))
        joint = _mean_weights(self.connections, self.joint, prior_parts)
        if self.core is None:
            shares[:] = np.ones(len(shares)) if joint is None else joint
        else:
            core = _mean_weights(*self.core, prior_parts)
            shares[:-1] = np.ones(prior_parts + 1) if core is None else core
            others = _mean_weights(self.connections, self.joint, prior_parts, besides=self._core_link)
            known = 0.0 if others is None else float(others[:-1].sum())
            if prior_parts and others is not None and known:
                # As much against the prior's parts as in the other links that these serve.
                shares[-1] = others[-1] * shares[:prior_parts].sum() / known
            shares[-1] = max(shares[-1], MIN_SHARE * shares[:-1].sum())
        if not set(readers) <= set(self.connections.modalities):
            shares[:prior_parts] = np.maximum(shares[:prior_parts], MIN_SHARE)
        return shares

    @property
    def _core_link(self) -> Link | None:
        return None if self.core is None else self.connections.link(self.core[0].modalities)


def fit_canonical(
    connections: Connections,
    lifts: Mapping[Modality, FeatureMap],
    known: Mapping[Modality, Projector],
    seed: int,
) -> tuple[CanonicalSubspaces, dict[str, Any]]:
    """Fit the canonical parts, and report on them.

    All links give one part together. Few pairs of a third modality can spoil what many pairs of two others
    have found, though: where the two that are linked best rank each other's held-out items better with a part of
    their own, by more than a standard error over the folds, they get one.

    Args:
        connections: at least one link.
        lifts: by modality.
        known: projectors of the prior, of the modalities that it reads.
        seed: of the folds.

    Raises:
        AlignmentError: the pairs show nothing.
    """
    links = connections.pairs
    summary = summarise_pairs(links, FOLDS if connections.can_validate else 1, seed)
    joint = _choice(connections, summary, lifts, known)
    blocks, report = _fit(connections, summary, joint, lifts)
    if joint is None:
        report["reason"] = "no two modalities have many items in common: settings are defaults"
        return CanonicalSubspaces(connections, None, None, {"cca": blocks}), report
    report |= _findings(connections, joint)
    best = max(links, key=lambda link: links[link].count)
    if len(links) > 1 and best in joint.evidence:
        alone = connections.only(best)
        own_summary = summarise_pairs(alone.pairs, FOLDS, seed, same_folds_as=(summary, best))
        own = _choice(alone, own_summary, lifts, known)
        if own and _better(own.evidence[0, 1], joint.evidence[best]):
            own_blocks, own_report = _fit(alone, own_summary, own, lifts)
            report["core"] = own_report | _findings(alone, own)
            core = "-".join(alone.modalities)
            return CanonicalSubspaces(
                connections, joint, (alone, own), {f"cca {core}": own_blocks, "cca": blocks}
            ), report
    return CanonicalSubspaces(connections, joint, None, {"cca": blocks}), report


def _choice(
    connections: Connections,
    summary: PairSummary,
    lifts: Mapping[Modality, FeatureMap],
    known: Mapping[Modality, Projector],
) -> Choice | None:
    if not connections.can_validate:
        return None
    views = connections.modalities
    numbered = {view: known[modality] for view, modality in enumerate(views) if modality in known}
    return choose_settings(summary, [lifts[modality] for modality in views], numbered)


def _fit(
    connections: Connections,
    summary: PairSummary,
    choice: Choice | None,
    lifts: Mapping[Modality, FeatureMap],
) -> tuple[dict[Modality, Block], dict[str, Any]]:
    """One part on all pairs with the settings chosen, or else the defaults."""
    ridge, power = (choice.ridge, choice.power) if choice else (DEFAULT_RIDGE, DEFAULT_POWER)
    maps = solve(summary.whole, ridge, DIMENSION)
    confirmed = choice.confirmed if choice else None
    correlations = maps.correlations if confirmed is None else confirmed[confirmed > 0]
    if len(correlations) == 0:
        raise AlignmentError(
            f"{connections.count} pairs show no correlation that other pairs confirm: "
            "give pairs that differ in content"
        )
    views = connections.modalities
    fitted = canonical_blocks(
        maps, correlations**power, [lifts[modality] for modality in views], summary.axes
    )
    return dict(zip(views, fitted, strict=True)), {
        "ridge": ridge,
        "power": power,
        "confirmed": confirmed is not None,
        "components": len(fitted[0].offset),
        "correlations": [round(float(value), 4) for value in correlations[:10]],
    }


def _better(own: MatchEvidence, joint: MatchEvidence) -> bool:
    """Whether a link is served better alone, by more than a standard error over folds."""
    gains = joint.losses - own.losses
    return bool(gains.mean() > gains.std() / len(gains) ** 0.5)


def _mean_weights(
    connections: Connections, choice: Choice | None, prior_parts: int, besides: Link | None = None
) -> NDArray[np.float64] | None:
    """(B,) of the prior's parts and a canonical one: the mean over the links in which all of them meet."""
    weights, count = np.zeros(prior_parts + 1), 0
    for link, evidence in choice.evidence.items() if choice else ():
        total = evidence.weights.sum()
        if link != besides and len(evidence.weights) == len(weights) and total > 0:
            items = connections.pairs[link].count
            weights, count = weights + items * evidence.weights / total, count + items
    return weights / count if count else None


def _findings(connections: Connections, choice: Choice) -> dict[str, Any]:
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
