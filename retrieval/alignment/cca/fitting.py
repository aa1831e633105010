"""Steps that all methods share: find linked modalities in the training data, and build the alignment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.cca.linked_modalities import Connections, connect
from retrieval.alignment.class_prior import FeatureMap, PriorSpace
from retrieval.alignment.maps.projector import identity_block
from retrieval.alignment.maps.subspaces import Subspace, assemble
from retrieval.errors import AlignmentError
from retrieval.types import Modality

Report = dict[str, Any]


def from_pairs(
    method: str,
    data: TrainingData,
    fit: Callable[[Connections], tuple[list[Subspace], Report]],
) -> Alignment:
    """Return the alignment that ``fit`` makes from the pairs alone; the class prior is not used.

    A modality without pairs can only be searched within itself.

    Args:
        method: its name.
        data: the training rows.
        fit: takes at least one link, and returns the subspaces of all linked modalities and a report.

    Raises:
        AlignmentError: several modalities, but no two of them have enough different common items.
    """
    connections = connect(data.tables, feature_maps(data, None), ())
    if len(data.tables) > 1 and not connections.pairs:
        raise AlignmentError(
            f"alignment {method!r} needs at least 2 different items with two modalities outside the held-out share "
            f"({'; '.join(connections.refused)}): add captions, or use 'auto'"
        )
    subspaces, report = fit(connections) if connections.pairs else ([], {})
    return build_alignment(method, data, None, subspaces, link_report(connections) | report)


def link_report(connections: Connections) -> Report:
    """Return the entries of a report that describe the links, including the refused ones."""
    report: Report = {
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


def build_alignment(
    method: str,
    data: TrainingData,
    space: PriorSpace | None,
    subspaces: list[Subspace],
    report: Mapping[str, Any],
) -> Alignment:
    """Return the alignment of the subspaces, plus a separate subspace for each modality that is in none of them.

    Raises:
        AlignmentError: there is no modality at all.
    """
    placed = {modality for subspace in subspaces for modality in subspace.blocks}
    unconnected = [modality for modality in data.tables if modality not in placed]
    dimensions = {
        modality: feature_map.dimension for modality, feature_map in feature_maps(data, space).items()
    }
    if not dimensions:
        raise AlignmentError(f"alignment {method!r} has nothing to align: index some items first")
    separate = [
        Subspace(f"{modality} alone", {modality: identity_block(dimensions[modality])})
        for modality in unconnected
    ]
    if unconnected:
        report = {**report, "unconnected": [str(modality) for modality in unconnected]}
    projectors = assemble([*subspaces, *separate], dimensions, space.mixtures if space else {})
    return Alignment(method, projectors, report)


def feature_maps(data: TrainingData, space: PriorSpace | None) -> dict[Modality, FeatureMap]:
    """Return the feature maps by modality, starting with the modalities of the class prior.

    Raises:
        AlignmentError: the prior was made for other features.
    """
    maps = dict(space.feature_maps) if space else {}
    for modality, table in data.tables.items():
        columns = table.features.shape[1]
        feature_map = maps.setdefault(modality, FeatureMap(columns))
        if columns != feature_map.dimension:
            raise AlignmentError(
                f"{modality} features have {columns} columns, but the class prior was made for "
                f"{feature_map.dimension}: use the encoders that the prior was made for"
            )
    return maps
