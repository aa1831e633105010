"""The rotation that brings a modality's features closest to the anchor's: the simplest baseline.

Schönemann, "A generalized solution of the orthogonal Procrustes problem" (1966).
"""

from __future__ import annotations

from scipy import linalg

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.methods.anchored import Float64Matrix, fit_anchored


def fit(data: TrainingData) -> Alignment:
    """Rotate every modality towards the anchor's features.

    Raises:
        AlignmentError: as ``fit_anchored``.
    """
    return fit_anchored("procrustes", data, rotation, (0.0,))


def rotation(_within: Float64Matrix, across: Float64Matrix, _setting: float) -> Float64Matrix:
    """Return the (d, a) matrix R with orthonormal columns or rows that minimises the sum of |y - x R|^2.

    Directions that x and y do not share are mapped to zero, because any rotation of them would fit equally well. There
    are such directions if there are fewer pairs than columns.

    Args:
        across: (d, a) covariance of x with y.
    """
    left, values, right = linalg.svd(across, full_matrices=False, check_finite=False)
    shared = values > 1e-9 * max(float(values[0]), 1e-300)
    mapping: Float64Matrix = left[:, shared] @ right[shared]
    return mapping
