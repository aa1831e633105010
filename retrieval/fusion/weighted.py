"""Weighted mean of the parts of an item."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from retrieval.arrays.norms import unit
from retrieval.errors import OptionError
from retrieval.fusion.base import ArrayFusion, Parts
from retrieval.fusion.query_gallery_splits import QueryGallerySplit, query_gallery_splits
from retrieval.types import Matrix

GRID = 4
"""The weights tried are multiples of 1 / (GRID + m - 1) for m modalities; none is zero."""


@dataclass(frozen=True)
class Weighted(ArrayFusion):
    """z = unit(sum of w_m x_m over the parts present), with the weights renormalised over these parts.

    Attributes:
        weights: (m,) float64, not negative, with sum 1.
    """

    weights: NDArray[np.float64]

    def __post_init__(self) -> None:
        if (self.weights < 0).any() or not np.isclose(self.weights.sum(), 1):
            raise OptionError(f"weights must not be negative and sum to 1, not {self.weights.tolist()}")

    def __call__(self, parts: Parts) -> Matrix:
        """Return (n, d) float32 of unit norm; if all parts of an item have weight 0, their plain mean is used."""
        weights = parts.present * self.weights
        total = weights.sum(axis=1, keepdims=True)
        weights = np.where(total > 0, weights, parts.present)
        weights = weights / weights.sum(axis=1, keepdims=True)
        return unit(np.einsum("nm,nmd->nd", weights.astype(np.float32), parts.vectors))


def fit_weighted(parts: Parts, seed: int) -> Weighted:
    """Choose the weights with which one part of an item best finds the fused rest (mean reciprocal rank).

    All weights of a coarse grid are tried; of equally good ones, the most even are chosen.
    """
    candidates = [Weighted(each) for each in _simplex(parts.vectors.shape[1])]
    tests = query_gallery_splits(parts, seed)
    if not tests:
        return Weighted(np.full(len(parts.modalities), 1 / len(parts.modalities)))
    return max(
        candidates,
        key=lambda each: (round(_mean_reciprocal_rank(each, tests), 3), -np.abs(each.weights).max()),
    )


def _mean_reciprocal_rank(fusion: Weighted, tests: list[QueryGallerySplit]) -> float:
    ranks = []
    for split in tests:
        scores = fusion(split.queries) @ fusion(split.gallery).T
        ranks.append(1 + (scores > np.diagonal(scores)[:, None]).sum(axis=1))
    return float(np.mean(1 / np.concatenate(ranks)))


def _simplex(count: int) -> list[NDArray[np.float64]]:
    """Return all ways to divide 1 into ``count`` weights in steps of 1 / (GRID + count - 1), each at least one step."""
    steps = GRID + count - 1
    cuts = combinations(range(1, steps), count - 1)
    return [np.array([b - a for a, b in pairwise((0, *cut, steps))]) / steps for cut in cuts]
