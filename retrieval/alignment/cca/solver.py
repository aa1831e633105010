"""Regularised canonical correlation analysis (CCA) of two or more views, from their covariances alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from retrieval.alignment.cca.linked_covariances import Link, LinkedCovariances
from retrieval.errors import AlignmentError

NEGLIGIBLE = 3e-5
"""Correlations below this are rounding errors, and their directions are arbitrary."""


@dataclass(frozen=True)
class CanonicalMaps:
    """Directions in which several views correlate.

    Attributes:
        correlations: (k,) float64 in [0, 1], descending; for more than two views the mean over their links.
        centers: V arrays of (d_v,) float64 means.
        weights: V arrays of (d_v, k) float64; canonical variates are (x - center) @ weights. With two views they have
            variance 1 (ridge included) and are uncorrelated with one another; with more, this holds for the mean
            over the views.
    """

    correlations: NDArray[np.float64]
    centers: tuple[NDArray[np.float64], ...]
    weights: tuple[NDArray[np.float64], ...]

    def correlations_on(self, linked: LinkedCovariances) -> NDArray[np.float64]:
        """Return the (k,) correlations on other items of the same views, without a ridge."""
        shared = np.zeros(len(self.correlations))
        variances = np.zeros(len(self.correlations))
        for i, j in linked.links:
            shared += 2 * _products(self.weights[i], linked.between((i, j)), self.weights[j])
        for view, weights in enumerate(self.weights):
            variances += _products(weights, linked.within(view), weights)
        return shared / np.maximum(variances, 1e-12) / max_link_eigenvalue(linked)


def solve(linked: LinkedCovariances, ridge: float = 0.0, dimension: int | None = None) -> CanonicalMaps:
    """Return the ``dimension`` directions with the largest correlations.

    Maximises the sum over links (i, j) of trace(A_i^T C_ij A_j) subject to
    sum over views of A_v^T (C_vv + l_v I) A_v = V I: Kettenring, "Canonical analysis of several sets of
    variables" (1971), MAXVAR, without the terms of missing links. For two views it is Hotelling, "Relations between
    two sets of variates" (1936). The ridge is Vinod's, "Canonical ridge and econometrics of joint production"
    (1976): l_v is ``ridge`` times the mean variance of the view's columns. It is multiplied by the ratio of the pair
    count of the view with the most pairs to that of this view, because a few pairs are weak evidence.

    All views are whitened by their Cholesky factors. One symmetric eigenproblem remains; for two views it has the
    size of the smaller one.

    Args:
        linked: the covariances.
        ridge: relative to the mean variance; 0 is plain CCA, and needs more rows than columns.
        dimension: maximum number of directions; None for all. Directions without correlation are left out.

    Raises:
        AlignmentError: a view has no variance, or the ridge is too small for a singular covariance.
    """
    views = range(linked.views)
    most_pairs = max(linked.count(view) for view in views)
    factors = [_cholesky(linked, view, ridge * most_pairs / max(linked.count(view), 1)) for view in views]
    whitened = {}
    for i, j in linked.links:  # L_i^-1 C_ij L_j^-T: the cross-covariance of the whitened views.
        half = linalg.solve_triangular(factors[i], linked.between((i, j)), lower=True, check_finite=False)
        whitened[i, j] = linalg.solve_triangular(factors[j], half.T, lower=True, check_finite=False).T
    if len(views) == 2:
        values, sides = _solve_two(whitened[0, 1], dimension)
    else:
        values, sides = _solve_many(whitened, linked, dimension)
    values = values / max_link_eigenvalue(linked)
    correlated = values > NEGLIGIBLE
    weights = tuple(
        linalg.solve_triangular(factor, side[:, correlated], lower=True, trans="T", check_finite=False)
        for factor, side in zip(factors, sides, strict=True)
    )
    return CanonicalMaps(
        np.minimum(values[correlated], 1.0), tuple(linked.center(view) for view in views), weights
    )


def max_link_eigenvalue(linked: LinkedCovariances) -> float:
    """Return the largest possible eigenvalue: that of the graph of the links, reached if all views are the same."""
    graph = np.zeros((linked.views, linked.views))
    for i, j in linked.links:
        graph[i, j] = graph[j, i] = 1.0
    return float(np.linalg.eigvalsh(graph)[-1])


def _solve_two(
    cross: NDArray[np.float64], dimension: int | None
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Return singular values and vectors, from the eigenproblem of the smaller side."""
    swap = cross.shape[0] < cross.shape[1]
    tall = cross.T if swap else cross
    squares, right = _largest(tall.T @ tall, dimension)
    values = np.sqrt(np.maximum(squares, 0))
    left = tall @ right / np.maximum(values, NEGLIGIBLE)
    return values, [right, left] if swap else [left, right]


def _solve_many(
    whitened: dict[Link, NDArray[np.float64]], linked: LinkedCovariances, dimension: int | None
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Return eigenvalues, and eigenvectors split by view, with a norm of 1 per view on average."""
    sizes = [len(linked.center(view)) for view in range(linked.views)]
    ends = np.cumsum(sizes)
    joint = np.zeros((ends[-1], ends[-1]))
    for (i, j), cross in whitened.items():
        joint[ends[i] - sizes[i] : ends[i], ends[j] - sizes[j] : ends[j]] = cross
    values, vectors = _largest(joint + joint.T, dimension)
    return values, np.split(np.sqrt(linked.views) * vectors, ends[:-1])


def _largest(
    symmetric: NDArray[np.float64], dimension: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return at most ``dimension`` eigenvalues, descending, and their eigenvectors."""
    size = len(symmetric)
    count = size if dimension is None else min(dimension, size)
    values, vectors = linalg.eigh(symmetric, subset_by_index=(size - count, size - 1), check_finite=False)
    return values[::-1], vectors[:, ::-1]


def _products(
    left: NDArray[np.float64], middle: NDArray[np.float64], right: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the (k,) diagonal of left^T middle right."""
    diagonal: NDArray[np.float64] = np.einsum("ik,ik->k", left, middle @ right)
    return diagonal


def _cholesky(linked: LinkedCovariances, view: int, ridge: float) -> NDArray[np.float64]:
    covariance = linked.within(view)
    variance = float(np.trace(covariance)) / max(len(covariance), 1)
    if not variance > 1e-14:
        raise AlignmentError(
            f"view {view + 1} of {linked.count(view)} pairs does not vary: "
            "give pairs that differ from one another"
        )
    covariance[np.diag_indices_from(covariance)] += ridge * variance
    try:
        factor: NDArray[np.float64] = linalg.cholesky(covariance, lower=True, check_finite=False)
    except linalg.LinAlgError as error:
        raise AlignmentError(
            f"the covariance of view {view + 1} ({len(covariance)} columns, {linked.count(view)} pairs) is "
            f"singular at ridge {ridge:g}: give a larger ridge or more pairs"
        ) from error
    return factor
