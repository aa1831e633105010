"""Features that are in one space already, such as CLIP's: there is nothing to fit."""

from __future__ import annotations

import numpy as np

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.maps.projector import Projector, identity_block
from retrieval.errors import AlignmentError


def fit_identity(data: TrainingData) -> Alignment:
    """The features as they are, at unit norm.

    Raises:
        AlignmentError: the modalities differ in dimension, so that their space cannot be one.
    """
    sizes = {modality: int(table.features.shape[1]) for modality, table in data.tables.items()}
    if len(set(sizes.values())) != 1:
        described = ", ".join(f"{modality} {size}" for modality, size in sizes.items()) or "nothing"
        raise AlignmentError(
            f"alignment 'identity' needs features of one space, these have other dimensions ({described}): "
            "use encoders of one model, or another alignment"
        )
    sizes |= dict.fromkeys(data.shared, next(iter(sizes.values())))
    projectors = {
        modality: Projector(
            size,
            (identity_block(size),),
            np.ones(1, np.float32),
        )
        for modality, size in sizes.items()
    }
    return Alignment("identity", projectors, {"pairs": 0, "reason": "the features are of one space"})
