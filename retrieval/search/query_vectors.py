"""Vectors of query terms, in the space of the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from retrieval.arrays.norms import unit
from retrieval.search.index_reader import IndexReader
from retrieval.search.query_composition import checked_vectors
from retrieval.types import ITEM, Matrix, Modality, Target, Term


def query_vectors(index: IndexReader, kind: str, terms: Sequence[Term], target: Target) -> Matrix:
    """Return the vectors of terms of one kind, (n, k) float32, to search ``target``.

    Media are encoded in the aligned space. If the target is items, they are then fused like items with no other assets.
    """
    if kind == "id":
        return np.stack([_item_vector(index, term.value, target) for term in terms])
    if kind == "vector":
        aligned = checked_vectors([term.value for term in terms], index.space.dimension)
    else:
        aligned = index.space.encode(Modality(kind), [term.value for term in terms])
    if target != ITEM:
        return aligned
    sources = [term.of if kind == "vector" else Modality(kind) for term in terms]
    rows = {
        modality: [row for row, source in enumerate(sources) if source == modality] for modality in sources
    }
    fused = {
        modality: index.fusion.query_vector(unit(aligned[modality_rows]), modality)
        for modality, modality_rows in rows.items()
    }
    out = np.empty((len(terms), next(iter(fused.values())).shape[1]), np.float32)
    for modality, modality_rows in rows.items():
        out[modality_rows] = fused[modality]
    return out


def item_assets(index: IndexReader, key: str, target: Target) -> Mapping[Target, list[int]]:
    """Return an item's assets of the target modality; by modality, all of them if it has none there.

    If the target is items, all assets together: an item is known by one of them.
    """
    by_modality = index.catalog.item_assets(key)
    if target == ITEM:
        return {ITEM: [asset for assets in by_modality.values() for asset in assets]}
    return {target: by_modality[target]} if target in by_modality else dict(by_modality.items())


def _item_vector(index: IndexReader, key: str, target: Target) -> Matrix:
    """Return the mean of an item's vectors in the target modality, or in all of its modalities if it has none there."""
    vectors = []
    for modality, assets in item_assets(index, key, target).items():
        modality_index = index.modality_index(modality)
        vectors.append(modality_index.index.vectors(modality_index.rows_of(assets)))
    mean: Matrix = np.concatenate(vectors).mean(axis=0)
    return mean
