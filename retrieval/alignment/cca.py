"""Regularised canonical correlation analysis of two views, from their covariances alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from retrieval.alignment.covariances import Covariances
from retrieval.errors import AlignmentError

NEGLIGIBLE = 1e-9
"""Squared correlations below this are rounding, and have no direction of their own."""


@dataclass(frozen=True)
class CanonicalMaps:
    """Directions in which two views say the same.

    Attributes:
        correlations: (k,) float64 in [0, 1], descending.
        centers: two (d_v,) float64 means.
        weights: two (d_v, k) float64; canonical variates are (x - center) @ weights, of variance 1 (ridge
            included) and uncorrelated with one another.
    """

    correlations: NDArray[np.float64]
    centers: tuple[NDArray[np.float64], NDArray[np.float64]]
    weights: tuple[NDArray[np.float64], NDArray[np.float64]]


def solve(covariances: Covariances, ridge: float = 0.0, dimension: int | None = None) -> CanonicalMaps:
    """The ``dimension`` most correlated pairs of directions.

    Maximises trace(A^T Cxy B) subject to A^T (Cxx + l_x I) A = B^T (Cyy + l_y I) B = I, where l_v
    is ``ridge`` times the mean variance of the view's columns. Hotelling, "Relations between two
    sets of variates" (1936); the ridge is Vinod's,
    "Canonical ridge and econometrics of joint production" (1976).

    Both views are whitened by their Cholesky factors; what remains is one symmetric eigenproblem of the
    smaller view's size.

    Args:
        covariances: of two views.
        ridge: relative to the mean variance; 0 is plain CCA, and needs more rows than columns.
        dimension: at most this many; None for all. Pairs without correlation are left out.

    Raises:
        AlignmentError: not two views, a view without variance, or a ridge too small for a singular
            covariance.
    """
    if len(covariances.dimensions) != 2:
        raise AlignmentError(f"canonical correlations need two views, not {len(covariances.dimensions)}")
    factors = [_cholesky(covariances, view, ridge) for view in (0, 1)]
    # L_x^-1 Cxy L_y^-T: the cross-covariance of the whitened views.
    cross = linalg.solve_triangular(factors[0], covariances.between(0, 1), lower=True, check_finite=False)
    cross = linalg.solve_triangular(factors[1], cross.T, lower=True, check_finite=False).T
    swap = cross.shape[0] < cross.shape[1]
    tall = cross.T if swap else cross
    size = tall.shape[1]
    wanted = size if dimension is None else min(dimension, size)
    squares, right = linalg.eigh(tall.T @ tall, subset_by_index=(size - wanted, size - 1), check_finite=False)
    squares, right = squares[::-1], right[:, ::-1]
    kept = squares > NEGLIGIBLE
    correlations, right = np.sqrt(squares[kept]), right[:, kept]
    left = tall @ right / correlations
    sides = (right, left) if swap else (left, right)
    first, second = (
        linalg.solve_triangular(factor, side, lower=True, trans="T", check_finite=False)
        for factor, side in zip(factors, sides, strict=True)
    )
    centers = (covariances.center(0), covariances.center(1))
    return CanonicalMaps(np.minimum(correlations, 1.0), centers, (first, second))


def _cholesky(covariances: Covariances, view: int, ridge: float) -> NDArray[np.float64]:
    covariance = covariances.between(view, view)
    variance = float(np.trace(covariance)) / max(len(covariance), 1)
    if not variance > 1e-14:
        raise AlignmentError(
            f"view {view + 1} of {covariances.count} pairs does not vary: "
            "give pairs that differ from one another"
        )
    covariance[np.diag_indices_from(covariance)] += ridge * variance
    try:
        factor: NDArray[np.float64] = linalg.cholesky(covariance, lower=True, check_finite=False)
    except linalg.LinAlgError as error:
        raise AlignmentError(
            f"the covariance of view {view + 1} ({len(covariance)} columns, {covariances.count} pairs) is "
            f"singular at ridge {ridge:g}: give a larger ridge or more pairs"
        ) from error
    return factor
