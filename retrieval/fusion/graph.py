"""Propagation over the graph of what is alike across modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from retrieval.arrays.lazy import slices
from retrieval.arrays.norms import unit
from retrieval.fusion.base import Parts
from retrieval.types import Matrix, Modality

NEIGHBOURS = 5
NEIGHBOUR_SHARE = 0.2
"""Of an item's vector that comes from its neighbours, a round."""
SHARPNESS = 10.0
"""Neighbours count by the exponential of so many times their similarity."""
ROUNDING = 1e-5
"""By which the similarities of an item's parts with themselves may be less than one each."""
MAX_KNOWN = 4096
"""Items that may be neighbours, at most: their vectors are kept and compared with every other's."""


@dataclass(frozen=True)
class Propagated:
    """z = unit((1 - a) mean of the item's parts + a mean of its neighbours' z), of items known before.

    Two items are as near as the nearest of their parts of different modalities: an edge is what another modality
    says. The items known before were propagated once among themselves, so that two rounds reach a new one. None is its
    own neighbour, known before or not, or else it would hear from others less than a new one does.

    Attributes:
        known: of the items known before.
        vectors: (n, d) float32, their z.
    """

    known: Parts
    vectors: Matrix

    def __call__(self, parts: Parts) -> Matrix:
        """(n, d) float32 of unit norm."""
        return _propagate(parts, self.known, self.vectors)

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """What it takes to have it again."""
        return {"known": self.known.vectors, "present": self.known.present, "vectors": self.vectors}

    @classmethod
    def restored(cls, arrays: Mapping[str, NDArray[Any]], modalities: Sequence[Modality]) -> Self:
        """From ``arrays``."""
        return cls(Parts(arrays["known"], arrays["present"], tuple(modalities)), arrays["vectors"])


def fit_graph(parts: Parts, seed: int) -> Propagated:
    """Propagate once among these items, or so many drawn of them."""
    parts = parts.take(np.sort(np.random.default_rng(seed).permutation(len(parts))[:MAX_KNOWN]))
    return Propagated(parts, _propagate(parts, parts, _mean(parts)))


def _propagate(parts: Parts, known: Parts, vectors: Matrix) -> Matrix:
    means = _mean(parts)
    count = min(NEIGHBOURS, len(known))
    if count < 1:
        return means
    out = np.empty_like(means)
    for rows in slices(len(parts), 512):
        block = parts.take(np.arange(len(parts))[rows])
        near = np.where(_same_items(block, known), -np.inf, _cross_similarity(block, known))
        nearest = np.argpartition(-near, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(near, nearest, axis=1)
        has_edge = np.isfinite(values)
        weights = np.where(has_edge, np.exp(SHARPNESS * np.where(has_edge, values, 0)), 0).astype(np.float32)
        total = weights.sum(axis=1, keepdims=True)
        weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
        neighbour_mean = np.einsum("nk,nkd->nd", weights, vectors[nearest])
        out[rows] = unit((1 - NEIGHBOUR_SHARE) * means[rows] + NEIGHBOUR_SHARE * neighbour_mean)
    return out


def _cross_similarity(parts: Parts, known: Parts) -> Matrix:
    """(n, known) float32: the best inner product of two parts of different modalities; -inf where there are none."""
    best = np.full((len(parts), len(known)), -np.inf, np.float32)
    for one in range(len(parts.modalities)):
        for other in range(len(known.modalities)):
            if one != other:
                scores = parts.vectors[:, one] @ known.vectors[:, other].T
                both = parts.present[:, one, None] & known.present[None, :, other]
                np.maximum(best, np.where(both, scores, -np.inf), out=best)
    return best


def _same_items(parts: Parts, known: Parts) -> NDArray[np.bool_]:
    """(n, known) bool: whether all their parts are the same but for rounding, as an item's own are."""
    similarity = np.einsum("nmd,kmd->nk", parts.vectors, known.vectors, optimize=True)
    same_modalities = (parts.present[:, None] == known.present[None]).all(axis=2)
    same: NDArray[np.bool_] = same_modalities & (similarity > parts.present.sum(axis=1)[:, None] - ROUNDING)
    return same


def _mean(parts: Parts) -> Matrix:
    return unit(parts.vectors.sum(axis=1))
