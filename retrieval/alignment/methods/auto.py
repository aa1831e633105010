"""The class prior, canonical correlations, and both in one space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from retrieval.alignment.base import Alignment, ClassPrior, FeatureTable, TrainingData
from retrieval.alignment.cca.canonical_subspaces import fit_canonical
from retrieval.alignment.class_prior import FeatureMap, PriorSpace, prior_space
from retrieval.alignment.fitting import Report, build_alignment, feature_maps, from_pairs, link_report
from retrieval.alignment.hub_correction import correct_hubs
from retrieval.alignment.linked_modalities import Connections, connect
from retrieval.alignment.maps.projector import Projector
from retrieval.alignment.maps.subspaces import Subspace, assemble
from retrieval.alignment.methods.shared_space import fit_shared
from retrieval.arrays.lazy import blocks
from retrieval.arrays.norms import unit
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
    return build_alignment("conse", data, space, _prior_parts(space)[:1], reason)


def fit_cca(data: TrainingData) -> Alignment:
    """Canonical correlations of the pairs alone.

    Raises:
        AlignmentError: as ``from_pairs``.
    """
    return cca_of("cca", data)


def cca_of(method: str, data: TrainingData) -> Alignment:
    """The same for a method that has made the features something else.

    Raises:
        AlignmentError: as ``from_pairs``.
    """
    return from_pairs(
        method, data, lambda connections: canonical_parts(connections, feature_maps(data, None), data.seed)
    )


def fit_auto(data: TrainingData) -> Alignment:
    """What the evidence supports: the prior, the pairs, or both in one space, or the space that there is already.

    Modalities with neither are searchable each within itself, and the report says so.

    Raises:
        AlignmentError: there is nothing to search, or features are not those the prior was made for.
    """
    if data.shared & set(data.tables):
        return fit_shared("auto", data)
    space = prior_space(data.prior, _means(data, data.prior)) if data.prior else None
    lifted = feature_maps(data, space)
    connections = connect(data.tables, lifted, space.blocks if space else ())
    prior = _prior_parts(space) if space else []
    if not connections.pairs:
        return build_alignment("auto", data, space, prior, link_report(connections))
    try:
        parts, report = canonical_parts(connections, lifted, data.seed, space)
    except AlignmentError as error:
        return build_alignment("auto", data, space, prior, {**link_report(connections), "reason": str(error)})
    fitted = build_alignment("auto", data, space, parts, report)
    return replace(fitted, projectors=correct_hubs(fitted.projectors, connections, data.seed))


def canonical_parts(
    connections: Connections,
    lifted: Mapping[Modality, FeatureMap],
    seed: int,
    space: PriorSpace | None = None,
) -> tuple[list[Subspace], Report]:
    """The prior's parts, where there is a prior, and those of what is linked.

    Raises:
        AlignmentError: the pairs show nothing.
    """
    prior = _prior_parts(space) if space else []
    known = {modality: _projector(space, modality) for modality in space.blocks} if space else {}
    fitted, report = fit_canonical(connections, lifted, known, seed)
    weights = fitted.weights(
        prior_subspaces=len(prior), prior_modalities=set(space.blocks) if space else set()
    )
    names = [*(part.name for part in prior), *fitted.blocks]
    report["weights"] = dict(zip(names, (weights / weights.sum()).tolist(), strict=True))
    block_of = [*(part.blocks for part in prior), *fitted.blocks.values()]
    parts = [Subspace(*part) for part in zip(names, block_of, weights.tolist(), strict=True)]
    return parts, link_report(connections) | report


def _prior_parts(space: PriorSpace) -> list[Subspace]:
    return [
        Subspace(name, {modality: own[number] for modality, own in space.blocks.items()})
        for number, name in enumerate(("conse", "classifiers"))
    ]


def _projector(space: PriorSpace, modality: Modality) -> Projector:
    parts = _prior_parts(space)
    return assemble(parts, {modality: space.feature_maps[modality].dimension}, space.mixtures)[modality]


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
    for chunk in blocks(table.features):
        total += unit(np.asarray(table.features[chunk], np.float32)).sum(axis=0, dtype=np.float64)
    return (total / len(table.features)).astype(np.float32)
