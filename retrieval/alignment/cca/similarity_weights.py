"""How well similarities find the right partner, and the weights with which several do so best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from retrieval.types import Matrix

MAX_WEIGHT = 100.0
"""Largest weight of a cosine; more would mean nothing but that the pool was too easy."""


@dataclass(frozen=True)
class MatchEvidence:
    """What a weighted sum of similarities is worth on pairs it was not fitted on.

    Attributes:
        weights: (B,) float64, non-negative, of the B similarities; their sum is the inverse temperature.
        loss: mean negative log-likelihood, in nats, of the right partner among its pool, both ways round.
        losses: (F,) float64, the same of each pool.
        mrr: mean reciprocal rank, both ways round.
    """

    weights: NDArray[np.float64]
    loss: float
    losses: NDArray[np.float64]
    mrr: float


def fit_weights(pools: Sequence[Matrix]) -> MatchEvidence:
    """The weights that make the right partners likeliest, and how likely that is.

    Minimises over w >= 0 the mean over pools, queries i and both directions of
    -log softmax_j(sum_b w_b S_b[i, j])[i]: a conditional logit model (McFadden 1974), convex in w, and in its
    form the symmetric contrastive loss of CLIP. Smoother than ranks, so few pairs suffice to choose by it.

    Args:
        pools: one (B, q, q) float32 array a fold: similarity b of query i and candidate j;
            i is right for i.
    """
    exact = [pool.astype(np.float64) for pool in pools]  # once: every step would convert them anew

    def one(pool: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = np.tensordot(weights, pool, axes=1)
        total, slope = 0.0, np.zeros(len(weights))
        for axis in (0, 1):
            norms = logsumexp(scores, axis=axis, keepdims=True)
            total += float(norms.mean() - np.diagonal(scores).mean()) / 2
            shares = np.exp(scores - norms)
            slope += ((pool * shares).sum(axis=(1, 2)) - np.trace(pool, axis1=1, axis2=2)) / (2 * len(scores))
        return total, slope

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        totals, slopes = zip(*(one(pool, weights) for pool in exact), strict=True)
        return sum(totals) / len(exact), np.sum(slopes, axis=0) / len(exact)

    count = len(pools[0])
    found = minimize(
        loss, np.full(count, 10.0 / count), jac=True, method="L-BFGS-B", bounds=[(0, MAX_WEIGHT)] * count
    )
    ranks = np.concatenate([_ranks(np.tensordot(found.x, pool, axes=1)) for pool in pools])
    losses = np.array([one(pool, found.x)[0] for pool in exact])
    return MatchEvidence(found.x, float(found.fun), losses, float(np.mean(1 / ranks)))


def _ranks(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """(2 q,) rank from 1 of the right partner, of the rows and then of the columns."""
    right = np.diagonal(scores)
    return np.concatenate([1 + (scores > right[:, None]).sum(axis=1), 1 + (scores > right).sum(axis=0)])
