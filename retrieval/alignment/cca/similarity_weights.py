"""Weights of several similarities that rank the true partner best, and how well they rank it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from retrieval.types import Matrix

MAX_WEIGHT = 100.0
"""Maximum weight of a cosine; a larger one would only show that the pool was too easy."""


@dataclass(frozen=True)
class MatchEvidence:
    """How well a weighted sum of similarities matches held-out pairs.

    Attributes:
        weights: (B,) float64, non-negative, of the B similarities; their sum is the inverse temperature.
        loss: mean negative log-likelihood of the true partner in its pool, in nats, over both directions.
        losses: (F,) float64, the same for each pool.
        mrr: mean reciprocal rank, over both directions.
    """

    weights: NDArray[np.float64]
    loss: float
    losses: NDArray[np.float64]
    mrr: float


def fit_weights(pools: Sequence[Matrix]) -> MatchEvidence:
    """Return the weights that maximise the likelihood of the true partners, and that likelihood.

    Minimises over w >= 0 the mean over pools, queries i and both directions of
    -log softmax_j(sum_b w_b S_b[i, j])[i]: a conditional logit model (McFadden 1974), convex in w, and in its
    form the symmetric contrastive loss of CLIP. It is smoother than ranks, so a few pairs are enough to choose by it.

    Args:
        pools: one (B, q, q) float32 array per fold: similarity b of query i and candidate j; candidate i is the
            true partner of query i.
    """
    exact = [pool.astype(np.float64) for pool in pools]  # converted once instead of in every step

    def pool_loss(
        pool: NDArray[np.float64], weights: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64]]:
        scores = np.tensordot(weights, pool, axes=1)
        total, gradient = 0.0, np.zeros(len(weights))
        for axis in (0, 1):
            norms = logsumexp(scores, axis=axis, keepdims=True)
            total += float(norms.mean() - np.diagonal(scores).mean()) / 2
            probabilities = np.exp(scores - norms)
            expected = (pool * probabilities).sum(axis=(1, 2))
            gradient += (expected - np.trace(pool, axis1=1, axis2=2)) / (2 * len(scores))
        return total, gradient

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        totals, gradients = zip(*(pool_loss(pool, weights) for pool in exact), strict=True)
        return sum(totals) / len(exact), np.sum(gradients, axis=0) / len(exact)

    count = len(pools[0])
    optimum = minimize(
        loss, np.full(count, 10.0 / count), jac=True, method="L-BFGS-B", bounds=[(0, MAX_WEIGHT)] * count
    )
    ranks = np.concatenate([_ranks(np.tensordot(optimum.x, pool, axes=1)) for pool in pools])
    losses = np.array([pool_loss(pool, optimum.x)[0] for pool in exact])
    return MatchEvidence(optimum.x, float(optimum.fun), losses, float(np.mean(1 / ranks)))


def _ranks(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the (2 q,) ranks, from 1, of the true partners: first for the rows, then for the columns."""
    true_scores = np.diagonal(scores)
    return np.concatenate(
        [1 + (scores > true_scores[:, None]).sum(axis=1), 1 + (scores > true_scores).sum(axis=0)]
    )
