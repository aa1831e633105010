"""The objective of deep CCA: the total correlation of two views, with a gradient that is always finite."""

from __future__ import annotations

import torch


def total_correlation(first: torch.Tensor, second: torch.Tensor, ridge: float) -> torch.Tensor:
    """Return the sum of the canonical correlations of two views, differentiably.

    It is the sum of the singular values of L1^-1 C12 L2^-T, where L1 and L2 are the Cholesky factors of the views'
    covariances with a ridge, all in float64. Andrew et al. (2013) use inverse square roots, which need eigenvectors.
    The gradient of eigenvectors divides by differences of eigenvalues. The gradient of a sum of singular values does
    not, so it stays finite.

    Args:
        first: (n, m) rows of one view.
        second: (n, m) rows of the other view; row i of both is the same item.
        ridge: in units of the mean variance of a view's columns.
    """
    views = [each.double() - each.double().mean(dim=0) for each in (first, second)]
    factors = []
    for view in views:
        covariance = view.T @ view / len(view)
        damping = ridge * covariance.diagonal().mean() + 1e-12
        factors.append(
            torch.linalg.cholesky(covariance + damping * torch.eye(len(covariance), dtype=covariance.dtype))
        )
    half_whitened = torch.linalg.solve_triangular(
        factors[0], views[0].T @ views[1] / len(views[0]), upper=False
    )
    whitened = torch.linalg.solve_triangular(factors[1], half_whitened.T, upper=False)
    total: torch.Tensor = torch.linalg.svdvals(whitened).sum()
    return total
