"""Subspaces: the blocks of several modalities, placed side by side in one space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.alignment.maps.projector import Block, ClassMixture, Projector
from retrieval.types import Modality


@dataclass(frozen=True)
class Subspace:
    """Columns of the space that some modalities share; all other modalities are 0 there.

    Attributes:
        name: its name in the report.
        blocks: by modality, all with the same number of columns.
        weight: weight of its cosine in the similarity of two modalities, relative to the other subspaces that both
            have.
    """

    name: str
    blocks: Mapping[Modality, Block]
    weight: float = 1.0

    @property
    def columns(self) -> int:
        """Number of columns."""
        return len(next(iter(self.blocks.values())).offset)


def assemble(
    subspaces: Sequence[Subspace],
    dimensions: Mapping[Modality, int],
    mixtures: Mapping[Modality, ClassMixture],
) -> dict[Modality, Projector]:
    """Return the projectors into the space of all subspaces.

    Each modality distributes its unit norm over the subspaces it has, by their weights. The score of two modalities
    with the same subspaces is the weighted mean of the cosines in the subspaces. If one modality lacks a subspace,
    that subspace adds nothing and the others keep their proportions: a third modality does not change how one
    modality ranks another.

    Args:
        subspaces: every modality has at least one of them.
        dimensions: number of feature columns by modality.
        mixtures: for the modalities that have a block with class weights.
    """
    projectors = {}
    for modality, dimension in dimensions.items():
        blocks = tuple(
            subspace.blocks.get(modality, Block(np.zeros(subspace.columns, np.float32)))
            for subspace in subspaces
        )
        present = np.array([modality in subspace.blocks for subspace in subspaces])
        weights = np.where(present, [subspace.weight for subspace in subspaces], 0.0)
        if not weights.any():  # no subspace separates pairs from unrelated rows: weight them equally
            weights = present.astype(float)
        scales = np.sqrt(weights / weights.sum()).astype(np.float32)
        needs_mixture = any(block.class_linear is not None for block in blocks)
        mixture = mixtures[modality] if needs_mixture else None
        projectors[modality] = Projector(dimension, blocks, scales, mixture)
    return projectors
