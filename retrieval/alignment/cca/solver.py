"""Regularised canonical correlation analysis of two or more views, from their covariances alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from retrieval.alignment.cca.linked_covariances import Link, LinkedCovariances
from retrieval.errors import AlignmentError

NEGLIGIBLE = 3e-5
"""Correlations below this are rounding, and have no direction of their own."""


@dataclass(frozen=True)
class CanonicalMaps:
    """Directions in which several views say the same.

    Attributes:
        correlations: (k,) float64 in [0, 1], descending; of more than two views the mean over their links.
        centers: V times (d_v,) float64 means.
        weights: V times (d_v, k) float64; canonical variates are (x - center) @ weights. Of two views they have
            variance 1 (ridge included) and are uncorrelated with one another; of more, summed over the views.
    """

    correlations: NDArray[np.float64]
    centers: tuple[NDArray[np.float64], ...]
    weights: tuple[NDArray[np.float64], ...]

    def correlations_on(self, linked: LinkedCovariances) -> NDArray[np.float64]:
        """(k,) the same means of correlations, in other items of the same views, without a ridge."""
        shared = np.zeros(len(self.correlations))
        own = np.zeros(len(self.correlations))
        for i, j in linked.links:
            shared += 2 * _products(self.weights[i], linked.between((i, j)), self.weights[j])
        for view, weights in enumerate(self.weights):
            own += _products(weights, linked.within(view), weights)
        return shared / np.maximum(own, 1e-12) / max_link_eigenvalue(linked)


def solve(linked: LinkedCovariances, ridge: float = 0.0, dimension: int | None = None) -> CanonicalMaps:
    """The ``dimension`` directions in which the views agree most.

    Maximises the sum over links (i, j) of trace(A_i^T C_ij A_j) subject to
    sum over views of A_v^T (C_vv + l_v I) A_v = V I: Kettenring, "Canonical analysis of several sets of
    variables" (1971), MAXVAR, which links that are missing leave out. Of two views it is Hotelling,
    "Relations between two sets of variates" (1936). The ridge is Vinod's, "Canonical ridge and
    econometrics of joint production" (1976): l_v is ``ridge`` times the mean variance of the view's columns,
    and as many times more as other views have more pairs, for few pairs prove little.

    All views are whitened by their Cholesky factors; what remains is one symmetric eigenproblem, of two views
    one of the smaller's size.

    Args:
        linked: the covariances.
        ridge: relative to the mean variance; 0 is plain CCA, and needs more rows than columns.
        dimension: at most this many; None for all. Directions without correlation are left out.

    Raises:
        AlignmentError: a view without variance, or a ridge too small for a singular covariance.
    """
    views = range(linked.views)
    fullest = max(linked.count(view) for view in views)
    factors = [_cholesky(linked, view, ridge * fullest / max(linked.count(view), 1)) for view in views]
    white = {}
    for i, j in linked.links:  # L_i^-1 C_ij L_j^-T: the cross-covariance of the whitened views.
        half = linalg.solve_triangular(factors[i], linked.between((i, j)), lower=True, check_finite=False)
        white[i, j] = linalg.solve_triangular(factors[j], half.T, lower=True, check_finite=False).T
    values, sides = _pair(white[0, 1], dimension) if len(views) == 2 else _several(white, linked, dimension)
    values = values / max_link_eigenvalue(linked)
    kept = values > NEGLIGIBLE
    weights = tuple(
        linalg.solve_triangular(factor, side[:, kept], lower=True, trans="T", check_finite=False)
        for factor, side in zip(factors, sides, strict=True)
    )
    return CanonicalMaps(np.minimum(values[kept], 1.0), tuple(linked.center(view) for view in views), weights)


def max_link_eigenvalue(linked: LinkedCovariances) -> float:
    """The largest eigenvalue that there can be: were all linked views the same, that of their graph."""
    graph = np.zeros((linked.views, linked.views))
    for i, j in linked.links:
        graph[i, j] = graph[j, i] = 1.0
    return float(np.linalg.eigvalsh(graph)[-1])


def _pair(
    cross: NDArray[np.float64], dimension: int | None
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Singular values and vectors, through the smaller side's eigenproblem."""
    swap = cross.shape[0] < cross.shape[1]
    tall = cross.T if swap else cross
    squares, right = _largest(tall.T @ tall, dimension)
    values = np.sqrt(np.maximum(squares, 0))
    left = tall @ right / np.maximum(values, NEGLIGIBLE)
    return values, [right, left] if swap else [left, right]


def _several(
    white: dict[Link, NDArray[np.float64]], linked: LinkedCovariances, dimension: int | None
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Eigenvalues, and eigenvectors view by view, at a norm of 1 a view on average."""
    sizes = [len(linked.center(view)) for view in range(linked.views)]
    ends = np.cumsum(sizes)
    joint = np.zeros((ends[-1], ends[-1]))
    for (i, j), cross in white.items():
        joint[ends[i] - sizes[i] : ends[i], ends[j] - sizes[j] : ends[j]] = cross
    values, vectors = _largest(joint + joint.T, dimension)
    return values, np.split(np.sqrt(linked.views) * vectors, ends[:-1])


def _largest(
    symmetric: NDArray[np.float64], dimension: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most ``dimension`` eigenvalues, descending, and their eigenvectors."""
    size = len(symmetric)
    wanted = size if dimension is None else min(dimension, size)
    values, vectors = linalg.eigh(symmetric, subset_by_index=(size - wanted, size - 1), check_finite=False)
    return values[::-1], vectors[:, ::-1]


def _products(
    left: NDArray[np.float64], middle: NDArray[np.float64], right: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(k,) the diagonal of left^T middle right."""
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
