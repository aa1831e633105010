"""What fusions are fitted and tested on: one part of an item asks for the item as the rest of it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.fusion.base import Parts

MAX_ITEMS = 1000
"""Items of a modality that are asked by and for."""


@dataclass(frozen=True)
class QueryGallerySplit:
    """Items that have several parts, cut in two.

    Attributes:
        asking: each item's one part of one modality.
        asked: the rest of the same items, in the same order.
    """

    queries: Parts
    gallery: Parts


def query_gallery_splits(parts: Parts, seed: int) -> list[QueryGallerySplit]:
    """A split by each modality that two items or more have beside another one."""
    random = np.random.default_rng(seed)
    several = parts.present.sum(axis=1) > 1
    splits = []
    for at in range(len(parts.modalities)):
        rows = np.flatnonzero(several & parts.present[:, at])
        rows = np.sort(random.choice(rows, min(MAX_ITEMS, len(rows)), replace=False))
        if len(rows) > 1:
            own = np.zeros((1, len(parts.modalities)), np.bool_)
            own[:, at] = True
            chosen = parts.take(rows)
            splits.append(QueryGallerySplit(chosen.keep_only(own), chosen.keep_only(~own)))
    return splits
