"""Split items for fitting and testing fusions: one part is the query, the rest of the item is its target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.fusion.base import Parts

MAX_ITEMS = 1000
"""Maximum number of items per query modality."""


@dataclass(frozen=True)
class QueryGallerySplit:
    """Items with several parts, each divided into a query and a gallery entry.

    Attributes:
        queries: each item's part of one modality.
        gallery: the rest of the same items, in the same order.
    """

    queries: Parts
    gallery: Parts


def query_gallery_splits(parts: Parts, seed: int) -> list[QueryGallerySplit]:
    """Return one split per modality that at least two items have together with another modality."""
    random = np.random.default_rng(seed)
    several = parts.present.sum(axis=1) > 1
    splits = []
    for at in range(len(parts.modalities)):
        rows = np.flatnonzero(several & parts.present[:, at])
        rows = np.sort(random.choice(rows, min(MAX_ITEMS, len(rows)), replace=False))
        if len(rows) > 1:
            query_mask = np.zeros((1, len(parts.modalities)), np.bool_)
            query_mask[:, at] = True
            chosen = parts.take(rows)
            splits.append(QueryGallerySplit(chosen.keep_only(query_mask), chosen.keep_only(~query_mask)))
    return splits
