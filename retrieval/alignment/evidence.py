"""How well similarities find the right partner, and the weights with which several do so best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from retrieval.types import Matrix

SHARPEST = 100.0
"""Largest weight of a cosine; more would mean nothing but that the pool was too easy."""


@dataclass(frozen=True)
class Evidence:
    """What a weighted sum of similarities is worth on pairs it was not fitted on.

    Attributes:
        weights: (B,) float64, non-negative, of the B similarities; their sum is the inverse temperature.
        loss: mean negative log-likelihood, in nats, of the right partner among its pool, both ways round.
        mrr: mean reciprocal rank, both ways round.
    """

    weights: NDArray[np.float64]
    loss: float
    mrr: float


def weigh(pools: Sequence[Matrix]) -> Evidence:
    """The weights that make the right partners likeliest, and how likely that is.

    Minimises over w >= 0 the mean over pools, queries i and both directions of
    -log softmax_j(sum_b w_b S_b[i, j])[i]: a conditional logit model (McFadden 1974), convex in w, and in its
    form the symmetric contrastive loss of CLIP. Smoother than ranks, so few pairs suffice to choose by it.

    Args:
        pools: one (B, q, q) float32 array a fold: similarity b of query i and candidate j;
            i is right for i.
    """

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        total, slope = 0.0, np.zeros(len(weights))
        for pool in pools:
            scores = np.tensordot(weights, pool, axes=1)
            right = np.diagonal(scores)
            for axis in (0, 1):
                norms = logsumexp(scores, axis=axis, keepdims=True)
                total += float(norms.mean() - right.mean()) / 2
                shares = np.exp(scores - norms)
                slope += ((pool * shares).sum(axis=(1, 2)) - np.trace(pool, axis1=1, axis2=2)) / (
                    2 * len(scores)
                )
        return total / len(pools), slope / len(pools)

    count = len(pools[0])
    found = minimize(
        loss, np.full(count, 10.0 / count), jac=True, method="L-BFGS-B", bounds=[(0, SHARPEST)] * count
    )
    ranks = np.concatenate([_ranks(np.tensordot(found.x, pool, axes=1)) for pool in pools])
    return Evidence(found.x, float(found.fun), float(np.mean(1 / ranks)))


def _ranks(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """(2 q,) rank from 1 of the right partner, of the rows and then of the columns."""
    right = np.diagonal(scores)
    return np.concatenate([1 + (scores > right[:, None]).sum(axis=1), 1 + (scores > right).sum(axis=0)])
