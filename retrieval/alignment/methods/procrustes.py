"""The rotation that takes a modality's features closest to the anchor's: the plainest of baselines.

Schönemann, "A generalized solution of the orthogonal Procrustes problem" (1966).
"""

from __future__ import annotations

from scipy import linalg

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.methods.anchored import Moment, fit_anchored


def fit(data: TrainingData) -> Alignment:
    """Rotate every modality towards the anchor's features.

    Raises:
        AlignmentError: as ``fit_anchored``.
    """
    return fit_anchored("procrustes", data, rotation, (0.0,))


def rotation(_within: Moment, across: Moment, _setting: float) -> Moment:
    """(d, a) R of orthonormal columns or rows, least sum of |y - x R|^2.

    Directions that x and y do not share, as there are with fewer pairs than columns, are taken to nothing: any
    rotation of them would fit as well.

    Args:
        across: (d, a) covariance of x with y.
    """
    left, values, right = linalg.svd(across, full_matrices=False, check_finite=False)
    shared = values > 1e-9 * max(float(values[0]), 1e-300)
    turned: Moment = left[:, shared] @ right[shared]
    return turned
