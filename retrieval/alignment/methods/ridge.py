"""Ridge regression onto the anchor's features: a plain baseline.

Hoerl and Kennard, "Ridge regression: biased estimation for nonorthogonal problems" (1970).
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.methods.anchored import Moment, fit_anchored

RIDGES = (1.0, 0.01, 0.1, 10.0, 100.0)
"""Penalties that are tried, in mean variances of the view's columns; the first where nothing can be tried."""


def fit(data: TrainingData) -> Alignment:
    """Regress every modality on the anchor's features.

    Raises:
        AlignmentError: as ``fit_anchored``.
    """
    return fit_anchored("ridge", data, regression, RIDGES)


def regression(within: Moment, across: Moment, ridge: float) -> Moment:
    """(d, a) W, least sum of |y - x W|^2 + n l |W|^2, l being ``ridge`` times the mean variance of x's columns.

    Args:
        within: (d, d) covariance of x.
        across: (d, a) covariance of x with y.
        ridge: of the penalty.
    """
    penalty = ridge * float(np.trace(within)) / len(within)
    solved: Moment = linalg.solve(within + penalty * np.eye(len(within)), across, assume_a="pos")
    return solved
