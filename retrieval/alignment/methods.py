"""The methods: each takes training data and gives a fitted alignment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from retrieval.alignment.assembly import Part, assemble
from retrieval.alignment.base import Alignment, ClassPrior, FeatureTable, TrainingData
from retrieval.alignment.canonical import canonical
from retrieval.alignment.contrastive import contrastive_blocks
from retrieval.alignment.hubness import relieved
from retrieval.alignment.links import Connections, connect
from retrieval.alignment.prior import Lift, PriorSpace, prior_space
from retrieval.alignment.projector import Projector, blocks, unchanged, unit
from retrieval.alignment.shared import fit_shared
from retrieval.errors import AlignmentError
from retrieval.types import Matrix, Modality

VISUAL = (Modality.IMAGE, Modality.VIDEO)
"""What one classifier may read: a video's features can be means of its frames'."""


def fit_conse(data: TrainingData) -> Alignment:
    """The class prior's text space alone; pairs are not looked at.

    Raises:
        AlignmentError: there is no class prior.
    """
    if data.prior is None:
        raise AlignmentError(
            "alignment 'conse' needs an image encoder whose classifier has named classes, and there is none: "
            "use 'cca' with captioned items, or another image encoder"
        )
    space = prior_space(data.prior, _means(data, data.prior))
    reason = {"reason": "the class prior alone was asked for"}
    return _alignment("conse", data, space, _prior_parts(space)[:1], reason)


def fit_cca(data: TrainingData) -> Alignment:
    """Canonical correlations of the pairs alone; the class prior is not looked at.

    Modalities without pairs are searchable each within itself.

    Raises:
        AlignmentError: several modalities, and no two of them with enough different items in common.
    """
    connections = connect(data.tables, _lifts(data, None), ())
    if len(data.tables) == 1:
        return _alignment("cca", data, None, [], _report(connections))
    if not connections.pairs:
        raise AlignmentError(
            "alignment 'cca' needs at least 2 different items with two modalities outside the held-out share "
            f"({'; '.join(connections.refused) or 'there are no items'}): add captions, or use 'auto'"
        )
    parts, report, _ = _canonical(data, connections, None)
    return _alignment("cca", data, None, parts, report)


def fit_contrastive(data: TrainingData) -> Alignment:
    """A linear head trained contrastively on the pairs alone; the class prior is not looked at.

    Modalities without pairs are searchable each within itself.

    Raises:
        AlignmentError: several modalities, and no two of them with enough different items in common.
    """
    connections = connect(data.tables, _lifts(data, None), ())
    if not connections.pairs:
        raise AlignmentError(
            "alignment 'contrastive' needs at least 2 different items with two modalities outside the held-out share "
            f"({'; '.join(connections.refused) or 'there is one modality'}): add captions, or use 'auto'"
        )
    lifts = [_lifts(data, None)[modality] for modality in connections.modalities]
    fitted, report = contrastive_blocks(connections, lifts, data.seed)
    part = Part("contrastive", dict(zip(connections.modalities, fitted, strict=True)))
    return _alignment("contrastive", data, None, [part], {**_report(connections), **report})


def fit_auto(data: TrainingData) -> Alignment:
    """What the evidence supports: the prior, the pairs, or both in one space, or the space that there is already.

    Modalities with neither are searchable each within itself, and the report says so.

    Raises:
        AlignmentError: there is nothing to search, or features are not those the prior was made for.
    """
    if data.shared & set(data.tables):
        return fit_shared("auto", data)
    space = prior_space(data.prior, _means(data, data.prior)) if data.prior else None
    lifts = _lifts(data, space)
    connections = connect(data.tables, lifts, space.blocks if space else ())
    prior = _prior_parts(space) if space else []
    if not connections.pairs:
        return _alignment("auto", data, space, prior, _report(connections))
    try:
        parts, report, hubness = _canonical(data, connections, space)
    except AlignmentError as error:
        return _alignment("auto", data, space, prior, {**_report(connections), "reason": str(error)})
    named = {"-".join(two): weight for two, weight in hubness.items()}
    fitted = _alignment("auto", data, space, parts, {**report, "hubness": named})
    return replace(fitted, projectors=relieved(fitted.projectors, connections, hubness, data.seed))


def _canonical(
    data: TrainingData, connections: Connections, space: PriorSpace | None
) -> tuple[list[Part], dict[str, Any], dict[tuple[Modality, Modality], float]]:
    """The prior's parts, where there is a prior, and those of what is linked; a report; what hubness is worth."""
    prior = _prior_parts(space) if space else []
    known = {modality: _projector(space, modality) for modality in space.blocks} if space else {}
    fitted, report = canonical(connections, _lifts(data, space), known, data.seed)
    weights = fitted.weights(prior_parts=len(prior), readers=set(space.blocks) if space else set())
    names = [*(part.name for part in prior), *fitted.blocks]
    report["weights"] = dict(zip(names, (weights / weights.sum()).tolist(), strict=True))
    block_of = [*(part.blocks for part in prior), *fitted.blocks.values()]
    parts = [Part(*part) for part in zip(names, block_of, weights.tolist(), strict=True)]
    return parts, _report(connections) | report, fitted.hubness


def _report(connections: Connections) -> dict[str, Any]:
    report: dict[str, Any] = {
        "pairs": connections.count,
        "links": {
            connections.name(link): {"pairs": len(views.items), "items": views.count}
            for link, views in connections.pairs.items()
        },
    }
    if connections.refused:
        report["refused"] = list(connections.refused)
    if not connections.pairs:
        report["reason"] = "; ".join(connections.refused) or "there are no two modalities to align"
    return report


def _alignment(
    method: str, data: TrainingData, space: PriorSpace | None, parts: list[Part], report: Mapping[str, Any]
) -> Alignment:
    """The parts, and one of its own for each modality that is in none of them."""
    placed = {modality for part in parts for modality in part.blocks}
    alone = [modality for modality in data.tables if modality not in placed]
    dimensions = {modality: lift.dimension for modality, lift in _lifts(data, space).items()}
    if not dimensions:
        raise AlignmentError(f"alignment {method!r} has nothing to align: index some items first")
    own = [Part(f"{modality} alone", {modality: unchanged(dimensions[modality])}) for modality in alone]
    if alone:
        report = {**report, "unconnected": [str(modality) for modality in alone]}
    projectors = assemble([*parts, *own], dimensions, space.mixtures if space else {})
    return Alignment(method, projectors, report)


def _prior_parts(space: PriorSpace) -> list[Part]:
    return [
        Part(name, {modality: own[number] for modality, own in space.blocks.items()})
        for number, name in enumerate(("conse", "classifiers"))
    ]


def _projector(space: PriorSpace, modality: Modality) -> Projector:
    parts = _prior_parts(space)
    return assemble(parts, {modality: space.lifts[modality].dimension}, space.mixtures)[modality]


def _lifts(data: TrainingData, space: PriorSpace | None) -> dict[Modality, Lift]:
    """By modality, those that the prior knows first.

    Raises:
        AlignmentError: the prior was made for other features.
    """
    lifts = dict(space.lifts) if space else {}
    for modality, table in data.tables.items():
        columns = table.features.shape[1]
        lift = lifts.setdefault(modality, Lift(columns))
        if columns != lift.dimension:
            raise AlignmentError(
                f"{modality} features have {columns} columns, but the class prior was made for "
                f"{lift.dimension}: use the encoders that the prior belongs to"
            )
    return lifts


def _means(data: TrainingData, prior: ClassPrior) -> dict[Modality, Matrix | None]:
    """Of the modality that the prior was made for, and of others that the same classifier fits."""
    own, columns = prior.modality, np.shape(prior.head.weights)[1]
    means = {own: _mean(data.tables.get(own))}
    for modality in VISUAL if own in VISUAL else ():
        table = data.tables.get(modality)
        if table is not None and table.features.shape[1] == columns:
            means[modality] = _mean(table)
    return means


def _mean(table: FeatureTable | None) -> Matrix | None:
    """(d,) mean unit feature row of a modality that the prior's classifier reads."""
    if table is None or len(table.features) == 0:
        return None
    total = np.zeros(table.features.shape[1])
    for chunk in blocks(len(table.features)):
        total += unit(np.asarray(table.features[chunk], np.float32)).sum(axis=0, dtype=np.float64)
    return (total / len(table.features)).astype(np.float32)
