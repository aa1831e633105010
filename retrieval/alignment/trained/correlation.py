"""What deep CCA maximises: the total correlation of two views, with a gradient that is always finite."""

from __future__ import annotations

import torch


def total_correlation(first: torch.Tensor, second: torch.Tensor, ridge: float) -> torch.Tensor:
    """The sum of the canonical correlations of two views, differentiably.

    It is the sum of the singular values of L1^-1 C12 L2^-T, L being the Cholesky factors of the views' covariances
    with a ridge: all in float64, and without the eigenvectors, whose gradient has differences of eigenvalues in
    its denominators, that the inverse roots of Andrew et al. (2013) take. That of a sum of singular values has none.

    Args:
        first: (n, m) rows of one view.
        second: (n, m) rows of the other, row i of each being the same item.
        ridge: relative to the mean variance of a view's columns.
    """
    views = [each.double() - each.double().mean(dim=0) for each in (first, second)]
    factors = []
    for view in views:
        own = view.T @ view / len(view)
        least = ridge * own.diagonal().mean() + 1e-12
        factors.append(torch.linalg.cholesky(own + least * torch.eye(len(own), dtype=own.dtype)))
    half = torch.linalg.solve_triangular(factors[0], views[0].T @ views[1] / len(views[0]), upper=False)
    white = torch.linalg.solve_triangular(factors[1], half.T, upper=False)
    total: torch.Tensor = torch.linalg.svdvals(white).sum()
    return total
