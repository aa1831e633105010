"""What the terms of a query mean: vectors of the space in which what is looked for lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from retrieval.arrays.norms import unit
from retrieval.search.index_reader import IndexReader
from retrieval.search.query_composition import checked_vectors
from retrieval.types import ITEM, Matrix, Modality, Target, Term


def query_vectors(index: IndexReader, kind: str, terms: Sequence[Term], target: Target) -> Matrix:
    """(n, k) float32: the vectors of terms of one kind, where ``target`` is looked for.

    Of media they are those of the aligned space, where items are looked for those of items that have nothing else.
    """
    if kind == "id":
        return np.stack([_item_vector(index, term.value, target) for term in terms])
    if kind == "vector":
        found = checked_vectors([term.value for term in terms], index.space.dimension)
    else:
        found = index.space.encode(Modality(kind), [term.value for term in terms])
    if target != ITEM:
        return found
    made_of = [term.of if kind == "vector" else Modality(kind) for term in terms]
    rows = {of: [at for at, own in enumerate(made_of) if own == of] for of in made_of}
    fused = {of: index.fusion.query_vector(unit(found[own]), of) for of, own in rows.items()}
    out = np.empty((len(terms), next(iter(fused.values())).shape[1]), np.float32)
    for of, own in rows.items():
        out[own] = fused[of]
    return out


def item_assets(index: IndexReader, key: str, target: Target) -> Mapping[Target, list[int]]:
    """An item's assets of the modality that is looked for, or where it has none, all by modality.

    Where items are looked for, all together: the item is known by one of them.
    """
    held = index.catalog.item_assets(key)
    if target == ITEM:
        return {ITEM: [asset for assets in held.values() for asset in assets]}
    return {target: held[target]} if target in held else dict(held.items())


def _item_vector(index: IndexReader, key: str, target: Target) -> Matrix:
    """The item's vector in what is looked for, or where it has none there, in the modalities it has."""
    found = []
    for modality, assets in item_assets(index, key, target).items():
        modality_index = index.modality_index(modality)
        found.append(modality_index.index.vectors(modality_index.rows_of(assets)))
    mean: Matrix = np.concatenate(found).mean(axis=0)
    return mean
