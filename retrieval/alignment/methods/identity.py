"""The method for features that are already in one space, such as CLIP's; nothing is fitted."""

from __future__ import annotations

import numpy as np

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.maps.projector import Projector, identity_block
from retrieval.errors import AlignmentError


def fit_identity(data: TrainingData) -> Alignment:
    """Use the features as they are, scaled to unit norm.

    Raises:
        AlignmentError: the modalities differ in dimension, so they cannot be in one space.
    """
    sizes = {modality: int(table.features.shape[1]) for modality, table in data.tables.items()}
    if len(set(sizes.values())) != 1:
        described = ", ".join(f"{modality} {size}" for modality, size in sizes.items()) or "nothing"
        raise AlignmentError(
            f"alignment 'identity' needs features of one space, but their dimensions differ ({described}): "
            "use encoders of one model, or another alignment"
        )
    sizes |= dict.fromkeys(data.shared, next(iter(sizes.values())))
    projectors = {
        modality: Projector(size, (identity_block(size),), np.ones(1, np.float32))
        for modality, size in sizes.items()
    }
    return Alignment("identity", projectors, {"pairs": 0, "reason": "the features are in one space"})
