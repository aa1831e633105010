"""Map other modalities into the space that the modalities of one model already share.

The shared modalities stay as they are: their alignment is the identity. Another modality is mapped to the shared row
that canonical correlation analysis (CCA) predicts from it. CCA is fitted to this modality and the shared rows of the
same items. The canonical variates, each shrunk by its correlation, are mapped back to the shared space. This is the
reduced-rank regression of Izenman (1975) with the weighting of CCA.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from retrieval.alignment.base import Alignment, FeatureTable, TrainingData
from retrieval.alignment.cca.canonical_subspaces import DEFAULT_POWER, DEFAULT_RIDGE, FOLDS
from retrieval.alignment.cca.linked_modalities import MIN_VALIDATION_ITEMS
from retrieval.alignment.cca.model_selection import DIMENSION, choose_settings
from retrieval.alignment.cca.paired_views import PairedViews, summarise_pairs
from retrieval.alignment.cca.solver import solve
from retrieval.alignment.class_prior import FeatureMap
from retrieval.alignment.maps.projector import Block, identity_block
from retrieval.alignment.maps.subspaces import Subspace, assemble
from retrieval.arrays.lazy import SelectedRows, StackedRows
from retrieval.errors import AlignmentError
from retrieval.types import Modality


def fit_shared(method: str, data: TrainingData) -> Alignment:
    """Use the identity for the shared modalities, and fit maps into their space for the others.

    A modality without pairs gets columns of its own; the report names it.

    Args:
        method: name of the requested method.
        data: at least one of its tables must be of a modality in ``data.shared``.

    Raises:
        AlignmentError: the features of the shared modalities differ in dimension.
    """
    shared_tables = {modality: table for modality, table in data.tables.items() if modality in data.shared}
    sizes = {int(table.features.shape[1]) for table in shared_tables.values()}
    if len(sizes) != 1:
        raise AlignmentError(f"features of one space must have one dimension, not {sorted(sizes)}")
    dimension = sizes.pop()
    dimensions = dict.fromkeys(sorted(data.shared), dimension)
    shared_blocks = {modality: identity_block(dimension) for modality in dimensions}
    unpaired, links = [], {}
    for modality, table in data.tables.items():
        if modality in data.shared:
            continue
        dimensions[modality] = int(table.features.shape[1])
        block, links[f"{modality}-shared"] = _map_into(
            _stacked(shared_tables.values(), table), table, data.seed
        )
        if block is None:
            unpaired.append(Subspace(f"{modality} alone", {modality: identity_block(dimensions[modality])}))
        else:
            shared_blocks[modality] = block
    report = {
        "reason": f"{' and '.join(sorted(data.shared))} are already in one space",
        "pairs": sum(int(link["pairs"]) for link in links.values()),
        "links": links,
        "unconnected": [str(modality) for part in unpaired for modality in part.blocks],
    }
    return Alignment(method, assemble([Subspace("shared", shared_blocks), *unpaired], dimensions, {}), report)


def _stacked(tables: Iterable[FeatureTable], other: FeatureTable) -> FeatureTable:
    """Stack the rows of all tables, but only of items that ``other`` has too."""
    matching = [(table, np.flatnonzero(np.isin(table.items, other.items))) for table in tables]
    return FeatureTable(
        StackedRows([SelectedRows(table.features, rows) for table, rows in matching]),
        np.concatenate([table.items[rows] for table, rows in matching]),
    )


def _map_into(anchor: FeatureTable, table: FeatureTable, seed: int) -> tuple[Block | None, dict[str, Any]]:
    """Return the map of a table's rows into the anchor's space, or None, and facts for the report."""
    lifts = (FeatureMap(anchor.features.shape[1]), FeatureMap(table.features.shape[1]))
    pairs = PairedViews((anchor, table), lifts)
    report: dict[str, Any] = {"pairs": len(pairs.items), "items": pairs.count}
    if pairs.count < 2 or not (pairs.varies(0) and pairs.varies(1)):
        return None, {**report, "reason": "too few different items have both modalities"}
    tested = pairs.count >= MIN_VALIDATION_ITEMS
    summary = summarise_pairs({(0, 1): pairs}, FOLDS if tested else 1, seed)
    choice = choose_settings(summary, lifts, {}) if tested else None
    ridge, power = (choice.ridge, choice.power) if choice else (DEFAULT_RIDGE, DEFAULT_POWER)
    maps = solve(summary.whole, ridge, DIMENSION)
    if not len(maps.correlations):
        return None, {**report, "reason": "no correlation of the pairs is confirmed by other pairs"}
    to_shared = summary.axes[0] @ (summary.whole.within(0) @ maps.weights[0])
    # Remove the mean of the shared rows: it carries no information and would make all vectors similar to each other.
    mean = summary.axes[0] @ maps.centers[0]
    to_shared -= np.outer(mean, mean @ to_shared) / max(float(mean @ mean), 1e-12)
    to_variates = maps.weights[1] * maps.correlations**power
    linear = summary.axes[1] @ to_variates @ to_shared.T
    offset = maps.centers[1] @ to_variates @ to_shared.T
    report |= {"ridge": ridge, "power": power, "components": len(maps.correlations)}
    return Block(offset.astype(np.float32), linear=linear.astype(np.float32)), report


def shared_modalities(specs: Iterable[tuple[Modality, str, str, int]]) -> frozenset[Modality]:
    """Return the modalities whose encoder is the same model as the text encoder; none if text is the only one.

    Args:
        specs: modality, name, weights and dimension (without parts) of each encoder. A video encoder that averages the
            features of an image encoder counts as that image encoder, because the mean is in the same space.
    """
    models = {
        modality: (name.removeprefix("frames-parts:").removeprefix("frames:"), weights, dimension)
        for modality, name, weights, dimension in specs
    }
    text_model = models.get(Modality.TEXT)
    modalities = frozenset(modality for modality, model in models.items() if model == text_model)
    return modalities if len(modalities) > 1 else frozenset()
