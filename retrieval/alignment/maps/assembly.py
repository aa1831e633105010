"""Blocks of several modalities side by side in one space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.alignment.maps.projector import Block, Mixture, Projector
from retrieval.types import Modality


@dataclass(frozen=True)
class Part:
    """Columns of the space that some modalities share; the others are 0 there.

    Attributes:
        name: what the report calls it.
        blocks: by modality, all with the same number of columns.
        weight: of its cosine in the similarity of two modalities, relative to the other parts that both have.
    """

    name: str
    blocks: Mapping[Modality, Block]
    weight: float = 1.0

    @property
    def columns(self) -> int:
        """Of the space."""
        return len(next(iter(self.blocks.values())).offset)


def assemble(
    parts: Sequence[Part], dimensions: Mapping[Modality, int], mixtures: Mapping[Modality, Mixture]
) -> dict[Modality, Projector]:
    """The projectors into the space of all parts.

    Each modality spreads its unit norm over the parts it has, by their weights. Two modalities that have the same
    parts score the weighted mean of the parts' cosines. Where one lacks a part, that part adds nothing, and the
    rest keep their proportions: the ranking of one modality for another is as if there were no third.

    Args:
        parts: of which every modality has at least one.
        dimensions: columns of each modality's features.
        mixtures: of the modalities some of whose blocks read shares.
    """
    projectors = {}
    for modality, dimension in dimensions.items():
        own = tuple(part.blocks.get(modality, Block(np.zeros(part.columns, np.float32))) for part in parts)
        has = np.array([modality in part.blocks for part in parts])
        weights = np.where(has, [part.weight for part in parts], 0.0)
        if not weights.any():  # no part tells partners from strangers: none is better than another
            weights = has.astype(float)
        scales = np.sqrt(weights / weights.sum()).astype(np.float32)
        reads_shares = any(block.mixed is not None for block in own)
        projectors[modality] = Projector(dimension, own, scales, mixtures[modality] if reads_shares else None)
    return projectors
