"""One vector per item: fit the fusion, fuse all items and index them."""

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
from retrieval.fusion.item_parts import ItemParts
from retrieval.fusion.stored_fusion import FittedFusion
from retrieval.types import ITEM, Integers, Matrix, Modality
from retrieval.vectors import query_sample as samples

MAX_TRAINING_ITEMS = 5000
"""Maximum number of items that a fusion is fitted on."""


def write(draft: Draft, aligned: ProjectedAssets, query_samples: QuerySamples) -> dict[str, Any]:
    """Write the fusion that the settings name, and the index of items.

    Args:
        draft: the generation being prepared.
        aligned: its projected assets.
        query_samples: sample queries of each modality.

    Returns:
        The manifest's entry; empty if there are no items.
    """
    settings, tables = aligned.settings, aligned.present
    method = registry.check_fusion(str(settings.fuse))
    if not tables:
        return {}

    def projected(modality: Modality, rows: Integers) -> Matrix:
        return aligned.read(modality, tables[modality].features[rows])

    items = draft.catalog.ordered_items()
    gathered = ItemParts(items, tables, projected, tuple(tables), aligned.alignment.dimension)
    fusion = registry.fit(
        method, gathered.parts(_learnable(gathered, settings.seed)), settings.seed, aligned.device
    )
    fused = FittedFusion(method, tuple(tables), fusion)
    fused.save(draft.files.fusion)
    places, path = np.arange(len(items)), draft.files.vectors(ITEM)
    blocks = gathered.fused(fusion, places)
    queries = {
        modality: (fused.query_vector(vectors, modality), owners)
        for modality, (vectors, owners) in query_samples.items()
    }
    sample = {modality: vectors for modality, (vectors, _) in queries.items()}
    columns = fusion(gathered.parts(places[:1])).shape[1]
    with lazy.temporary_matrix(path.with_suffix(".fused"), blocks, columns) as vectors:
        entry = vector_indexes.build_index(draft, aligned, vectors, sample, path)
        scores = _background(vectors, items, queries, settings.seed)
    shown = gathered.shown()
    npy.write(draft.files.assets(ITEM), np.stack([shown, shown], axis=1))
    return {**entry, "fusion": method, **scores.save(draft.files.centre(ITEM))}


def _learnable(gathered: ItemParts, seed: int) -> Integers:
    """Return positions of items that are not held out, ascending; a random sample if there are many."""
    held_out = {int(item) for table in gathered.tables.values() for item in table.items[table.held_out]}
    free = np.flatnonzero(~np.isin(gathered.items, list(held_out)))
    return np.sort(np.random.default_rng(seed).permutation(free)[:MAX_TRAINING_ITEMS])


def _background(
    vectors: MatrixLike, items: Integers, query_samples: QuerySamples, seed: int
) -> score_backgrounds.ScoreBackground:
    """Return the score distribution of unrelated pairs, for each query modality and for items as queries."""
    gallery, query_rows = samples.draw(len(vectors), seed + 1), samples.draw(len(vectors), seed)
    item_queries = (ITEM, (vectors[query_rows], items[query_rows]))
    return score_backgrounds.against(
        [*query_samples.items(), item_queries], vectors[gallery], items[gallery], items[gallery]
    )
