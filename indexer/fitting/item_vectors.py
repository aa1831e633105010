"""Whole items as one vector each: the fusion is fitted, all items are fused and indexed."""

from __future__ import annotations

from typing import Any

import numpy as np

from indexer.fitting import score_backgrounds, vector_indexes
from indexer.fitting.projection import ProjectedAssets
from indexer.fitting.score_backgrounds import QuerySamples
from indexer.publishing.draft import Draft
from retrieval.arrays import lazy, npy
from retrieval.arrays.lazy import MatrixLike
from retrieval.fusion import registry
from retrieval.fusion.fitted import FittedFusion
from retrieval.fusion.item_parts import ItemParts
from retrieval.types import ITEM, Integers, Matrix, Modality
from retrieval.vectors import query_sample as samples

FITTED = 5000
"""Items that a fusion learns from, at most."""


def write(draft: Draft, aligned: ProjectedAssets, asking: QuerySamples) -> dict[str, Any]:
    """Write the fusion that the settings name and the index of items.

    Args:
        draft: the generation in the making.
        aligned: its assets.
        asking: a sample of what may ask.

    Returns:
        The manifest's entry; empty where there are no items.
    """
    settings, held = aligned.settings, aligned.present
    method = registry.check_fusion(str(settings.fuse))
    if not held:
        return {}

    def projected(modality: Modality, own: Integers) -> Matrix:
        return aligned.read(modality, held[modality].features[own])

    items = draft.catalog.ordered_items()
    gathered = ItemParts(items, held, projected, tuple(held), aligned.alignment.dimension)
    fusion = registry.fit(
        method, gathered.parts(_learnable(gathered, settings.seed)), settings.seed, aligned.device
    )
    fused = FittedFusion(method, tuple(held), fusion)
    fused.save(draft.files.fusion)
    places, path = np.arange(len(items)), draft.files.vectors(ITEM)
    made = gathered.fused(fusion, places)
    queries = {of: (fused.query_vector(vectors, of), whose) for of, (vectors, whose) in asking.items()}
    sample = {of: vectors for of, (vectors, _) in queries.items()}
    columns = fusion(gathered.parts(places[:1])).shape[1]
    with lazy.temporary_matrix(path.with_suffix(".fused"), made, columns) as vectors:
        entry = vector_indexes.built(draft, aligned, vectors, sample, path)
        scores = _background(vectors, items, queries, settings.seed)
    shown = gathered.shown()
    npy.write(draft.files.assets(ITEM), np.stack([shown, shown], axis=1))
    return {**entry, "fusion": method, **scores.save(draft.files.centre(ITEM))}


def _learnable(gathered: ItemParts, seed: int) -> Integers:
    """Places of items that are not held out, ascending; a draw of them where there are many."""
    held = {int(item) for table in gathered.tables.values() for item in table.items[table.held_out]}
    free = np.flatnonzero(~np.isin(gathered.items, list(held)))
    return np.sort(np.random.default_rng(seed).permutation(free)[:FITTED])


def _background(
    vectors: MatrixLike, items: Integers, asking: QuerySamples, seed: int
) -> score_backgrounds.ScoreBackground:
    """By what asks, items among it, the scores with items that it has nothing to do with."""
    chosen, other = samples.draw(len(vectors), seed + 1), samples.draw(len(vectors), seed)
    itself = (ITEM, (vectors[other], items[other]))
    return score_backgrounds.against([*asking.items(), itself], vectors[chosen], items[chosen], items[chosen])
