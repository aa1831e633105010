"""The default method and its ingredients: the class prior, canonical correlations (CCA), and both in one space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from retrieval.alignment.base import Alignment, ClassPrior, FeatureTable, TrainingData
from retrieval.alignment.cca.canonical_subspaces import fit_canonical
from retrieval.alignment.cca.fitting import Report, build_alignment, feature_maps, from_pairs, link_report
from retrieval.alignment.cca.linked_modalities import Connections, connect
from retrieval.alignment.class_prior import FeatureMap, PriorSpace, prior_space
from retrieval.alignment.maps.projector import Projector
from retrieval.alignment.maps.subspaces import Subspace, assemble
from retrieval.alignment.methods.hub_correction import correct_hubs
from retrieval.alignment.methods.shared_space import fit_shared
from retrieval.arrays.lazy import blocks
from retrieval.arrays.norms import unit
from retrieval.errors import AlignmentError
from retrieval.types import Matrix, Modality

CLASSIFIER_MODALITIES = (Modality.IMAGE, Modality.VIDEO)
"""Modalities that one classifier can read: the features of a video can be the mean of the features of its frames."""


def fit_conse(data: TrainingData) -> Alignment:
    """Use only the class prior's text space; pairs are ignored.

    Raises:
        AlignmentError: there is no class prior.
    """
    if data.prior is None:
        raise AlignmentError(
            "alignment 'conse' needs an image encoder whose classifier has named classes, but this index has none: "
            "use 'cca' with captioned items, or another image encoder"
        )
    space = prior_space(data.prior, _means(data, data.prior))
    reason = {"reason": "only the class prior was requested"}
    return build_alignment("conse", data, space, _prior_parts(space)[:1], reason)


def fit_cca(data: TrainingData) -> Alignment:
    """Fit canonical correlations to the pairs; the class prior is not used.

    Raises:
        AlignmentError: as ``from_pairs``.
    """
    return fit_cca_as("cca", data)


def fit_cca_as(method: str, data: TrainingData) -> Alignment:
    """Fit ``cca`` on behalf of another method, which has already transformed the features.

    Raises:
        AlignmentError: as ``from_pairs``.
    """
    return from_pairs(
        method, data, lambda connections: canonical_parts(connections, feature_maps(data, None), data.seed)
    )


def fit_auto(data: TrainingData) -> Alignment:
    """Fit what the data support: the prior, the pairs, both in one space, or the space the encoders already share.

    A modality with neither prior nor pairs can only be searched within itself; the report names it.

    Raises:
        AlignmentError: there is no modality, or the features are not those that the prior was made for.
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
    """Return the parts of the prior, if there is one, and the parts fitted to the pairs, with their report.

    Raises:
        AlignmentError: the pairs show no correlation.
    """
    prior = _prior_parts(space) if space else []
    known = {modality: _projector(space, modality) for modality in space.blocks} if space else {}
    fitted, report = fit_canonical(connections, lifted, known, seed)
    weights = fitted.weights(
        prior_subspaces=len(prior), prior_modalities=set(space.blocks) if space else set()
    )
    names = [*(part.name for part in prior), *fitted.blocks]
    report["weights"] = dict(zip(names, (weights / weights.sum()).tolist(), strict=True))
    part_blocks = [*(part.blocks for part in prior), *fitted.blocks.values()]
    parts = [Subspace(*part) for part in zip(names, part_blocks, weights.tolist(), strict=True)]
    return parts, link_report(connections) | report


def _prior_parts(space: PriorSpace) -> list[Subspace]:
    return [
        Subspace(name, {modality: prior_blocks[number] for modality, prior_blocks in space.blocks.items()})
        for number, name in enumerate(("conse", "classifiers"))
    ]


def _projector(space: PriorSpace, modality: Modality) -> Projector:
    parts = _prior_parts(space)
    return assemble(parts, {modality: space.feature_maps[modality].dimension}, space.mixtures)[modality]


def _means(data: TrainingData, prior: ClassPrior) -> dict[Modality, Matrix | None]:
    """Return mean rows of the prior's modality and of the other modalities whose features its classifier can read."""
    read_by_prior, columns = prior.modality, np.shape(prior.head.weights)[1]
    means = {read_by_prior: _mean(data.tables.get(read_by_prior))}
    for modality in CLASSIFIER_MODALITIES if read_by_prior in CLASSIFIER_MODALITIES else ():
        table = data.tables.get(modality)
        if table is not None and table.features.shape[1] == columns:
            means[modality] = _mean(table)
    return means


def _mean(table: FeatureTable | None) -> Matrix | None:
    """Return the (d,) mean of the unit feature rows of a modality; None if it has no rows."""
    if table is None or len(table.features) == 0:
        return None
    total = np.zeros(table.features.shape[1])
    for chunk in blocks(table.features):
        total += unit(np.asarray(table.features[chunk], np.float32)).sum(axis=0, dtype=np.float64)
    return (total / len(table.features)).astype(np.float32)
