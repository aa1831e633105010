"""Ridge regression onto the anchor's features: a simple baseline.

Hoerl and Kennard, "Ridge regression: biased estimation for nonorthogonal problems" (1970).
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.methods.anchored import Float64Matrix, fit_anchored

RIDGES = (1.0, 0.01, 0.1, 10.0, 100.0)
"""Penalties to try, in units of the mean variance of the view's columns; the first is used without validation."""


def fit(data: TrainingData) -> Alignment:
    """Regress every modality on the anchor's features.

    Raises:
        AlignmentError: as ``fit_anchored``.
    """
    return fit_anchored("ridge", data, regression, RIDGES)


def regression(within: Float64Matrix, across: Float64Matrix, ridge: float) -> Float64Matrix:
    """Return the (d, a) W that minimises the sum of |y - x W|^2, plus n l |W|^2.

    Here l is ``ridge`` times the mean variance of x's columns, and n is the number of pairs.

    Args:
        within: (d, d) covariance of x.
        across: (d, a) covariance of x with y.
        ridge: strength of the penalty.
    """
    penalty = ridge * float(np.trace(within)) / len(within)
    solved: Float64Matrix = linalg.solve(within + penalty * np.eye(len(within)), across, assume_a="pos")
    return solved
