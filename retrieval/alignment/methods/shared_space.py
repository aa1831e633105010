"""Modalities that one model reads are of one space already; others are brought into that space as it is.

What is shared stays untouched: its alignment is the identity. Of another modality, canonical correlation analysis
with the shared rows of the same items says what of it tells anything about them, and its vector is the shared row
that this lets one expect: the canonical variates, each shrunk by its correlation, mapped back (the reduced-rank
regression of Izenman 1975, with CCA's weighting).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from retrieval.alignment.base import Alignment, FeatureTable, TrainingData
from retrieval.alignment.cca.canonical_subspaces import DEFAULT_POWER, DEFAULT_RIDGE, FOLDS
from retrieval.alignment.cca.model_selection import DIMENSION, choose_settings
from retrieval.alignment.cca.paired_views import PairedViews, summarise_pairs
from retrieval.alignment.cca.solver import solve
from retrieval.alignment.class_prior import FeatureMap
from retrieval.alignment.linked_modalities import MIN_VALIDATION_ITEMS
from retrieval.alignment.maps.projector import Block, identity_block
from retrieval.alignment.maps.subspaces import Subspace, assemble
from retrieval.arrays.lazy import SelectedRows, StackedRows
from retrieval.errors import AlignmentError
from retrieval.types import Modality


def fit_shared(method: str, data: TrainingData) -> Alignment:
    """The identity for what is of one space, and the way into it for the rest.

    A modality without pairs keeps columns of its own, and the report says so.

    Args:
        method: what was asked for.
        data: at least one of whose tables is of a modality in ``data.shared``.

    Raises:
        AlignmentError: features that are said to be of one space differ in dimension.
    """
    own = {modality: table for modality, table in data.tables.items() if modality in data.shared}
    sizes = {int(table.features.shape[1]) for table in own.values()}
    if len(sizes) != 1:
        raise AlignmentError(f"features of one space have one dimension, not {sorted(sizes)}")
    size = sizes.pop()
    dimensions = dict.fromkeys(sorted(data.shared), size)
    same = {modality: identity_block(size) for modality in dimensions}
    alone, links = [], {}
    for modality, table in data.tables.items():
        if modality in data.shared:
            continue
        dimensions[modality] = int(table.features.shape[1])
        block, links[f"{modality}-shared"] = _into(_together(own.values(), table), table, data.seed)
        if block is None:
            alone.append(Subspace(f"{modality} alone", {modality: identity_block(dimensions[modality])}))
        else:
            same[modality] = block
    report = {
        "reason": f"{' and '.join(sorted(data.shared))} are of one space already",
        "pairs": sum(int(link["pairs"]) for link in links.values()),
        "links": links,
        "unconnected": [str(modality) for part in alone for modality in part.blocks],
    }
    return Alignment(method, assemble([Subspace("shared", same), *alone], dimensions, {}), report)


def _together(tables: Iterable[FeatureTable], other: FeatureTable) -> FeatureTable:
    """The rows of all tables as one; of the items alone that ``other`` has, too."""
    kept = [(table, np.flatnonzero(np.isin(table.items, other.items))) for table in tables]
    return FeatureTable(
        StackedRows([SelectedRows(table.features, rows) for table, rows in kept]),
        np.concatenate([table.items[rows] for table, rows in kept]),
    )


def _into(anchor: FeatureTable, table: FeatureTable, seed: int) -> tuple[Block | None, dict[str, Any]]:
    """The map of a table's rows into the anchor's space, or None; and what to say of it."""
    lifts = (FeatureMap(anchor.features.shape[1]), FeatureMap(table.features.shape[1]))
    pairs = PairedViews((anchor, table), lifts)
    found: dict[str, Any] = {"pairs": len(pairs.items), "items": pairs.count}
    if pairs.count < 2 or not (pairs.varies(0) and pairs.varies(1)):
        return None, {**found, "reason": "too few different items have both"}
    tested = pairs.count >= MIN_VALIDATION_ITEMS
    summary = summarise_pairs({(0, 1): pairs}, FOLDS if tested else 1, seed)
    choice = choose_settings(summary, lifts, {}) if tested else None
    ridge, power = (choice.ridge, choice.power) if choice else (DEFAULT_RIDGE, DEFAULT_POWER)
    maps = solve(summary.whole, ridge, DIMENSION)
    if not len(maps.correlations):
        return None, {**found, "reason": "they have nothing in common that other pairs confirm"}
    back = summary.axes[0] @ (summary.whole.within(0) @ maps.weights[0])
    # The mean of what is shared is no news, and would make every vector resemble every other.
    mean = summary.axes[0] @ maps.centers[0]
    back -= np.outer(mean, mean @ back) / max(float(mean @ mean), 1e-12)
    forth = maps.weights[1] * maps.correlations**power
    linear = summary.axes[1] @ forth @ back.T
    offset = maps.centers[1] @ forth @ back.T
    found |= {"ridge": ridge, "power": power, "components": len(maps.correlations)}
    return Block(offset.astype(np.float32), linear=linear.astype(np.float32)), found


def sharing(specs: Iterable[tuple[Modality, str, str, int]]) -> frozenset[Modality]:
    """The modalities whose encoders are one model with text's; none if that is text alone.

    Args:
        specs: each encoder's modality, name, weights and dimension, without parts. A video's by a picture's encoder
            counts as that, for the mean of such features is of their space.
    """
    models = {
        modality: (name.removeprefix("frames-parts:").removeprefix("frames:"), weights, dimension)
        for modality, name, weights, dimension in specs
    }
    found = frozenset(modality for modality, model in models.items() if model == models.get(Modality.TEXT))
    return found if len(found) > 1 else frozenset()
