"""What all methods share: from training data to what is linked, and from parts to the alignment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.class_prior import Lift, PriorSpace
from retrieval.alignment.linked_modalities import Connections, connect
from retrieval.alignment.maps.assembly import Part, assemble
from retrieval.alignment.maps.projector import unchanged
from retrieval.errors import AlignmentError
from retrieval.types import Modality

Report = dict[str, Any]


def from_pairs(
    method: str,
    data: TrainingData,
    fit: Callable[[Connections], tuple[list[Part], Report]],
) -> Alignment:
    """The alignment that ``fit`` makes of the pairs alone; the class prior is not looked at.

    Modalities without pairs are searchable each within itself.

    Args:
        method: its name.
        data: the training rows.
        fit: from at least one link to the parts of all linked modalities, and what to say of them.

    Raises:
        AlignmentError: several modalities, and no two of them with enough different items in common.
    """
    connections = connect(data.tables, lifts(data, None), ())
    if len(data.tables) > 1 and not connections.pairs:
        raise AlignmentError(
            f"alignment {method!r} needs at least 2 different items with two modalities outside the held-out share "
            f"({'; '.join(connections.refused)}): add captions, or use 'auto'"
        )
    parts, report = fit(connections) if connections.pairs else ([], {})
    return assembled(method, data, None, parts, found(connections) | report)


def found(connections: Connections) -> Report:
    """What a report says of the links, those refused too."""
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


def assembled(
    method: str, data: TrainingData, space: PriorSpace | None, parts: list[Part], report: Mapping[str, Any]
) -> Alignment:
    """The parts, and one of its own for each modality that is in none of them.

    Raises:
        AlignmentError: there is no modality at all.
    """
    placed = {modality for part in parts for modality in part.blocks}
    alone = [modality for modality in data.tables if modality not in placed]
    dimensions = {modality: lift.dimension for modality, lift in lifts(data, space).items()}
    if not dimensions:
        raise AlignmentError(f"alignment {method!r} has nothing to align: index some items first")
    own = [Part(f"{modality} alone", {modality: unchanged(dimensions[modality])}) for modality in alone]
    if alone:
        report = {**report, "unconnected": [str(modality) for modality in alone]}
    projectors = assemble([*parts, *own], dimensions, space.mixtures if space else {})
    return Alignment(method, projectors, report)


def lifts(data: TrainingData, space: PriorSpace | None) -> dict[Modality, Lift]:
    """By modality, those that the prior knows first.

    Raises:
        AlignmentError: the prior was made for other features.
    """
    known = dict(space.lifts) if space else {}
    for modality, table in data.tables.items():
        columns = table.features.shape[1]
        lift = known.setdefault(modality, Lift(columns))
        if columns != lift.dimension:
            raise AlignmentError(
                f"{modality} features have {columns} columns, but the class prior was made for "
                f"{lift.dimension}: use the encoders that the prior belongs to"
            )
    return known
