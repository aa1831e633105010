"""Propagation over a graph of items that are similar across modalities."""

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
"""Share of an item's vector that comes from its neighbours, per round."""
SHARPNESS = 10.0
"""Weight of a neighbour: the exponential of this many times its similarity."""
ROUNDING = 1e-5
"""Tolerance when the parts of an item are compared with themselves: their sum of similarities may be lower by this."""
MAX_KNOWN = 4096
"""Maximum number of items that can be neighbours: their vectors are stored and compared with those of every item."""


@dataclass(frozen=True)
class Propagated:
    """z = unit((1 - a) mean of the item's parts + a mean of its neighbours' z), with neighbours among the known items.

    The similarity of two items is that of their most similar parts of different modalities: an edge carries what
    another modality says. The known items were propagated once among themselves, so a new item receives from two
    rounds. No item, known or new, is its own neighbour; otherwise a known item would receive less from others than a
    new one does.

    Attributes:
        known: parts of the known items.
        vectors: (n, d) float32, the z of the known items.
    """

    known: Parts
    vectors: Matrix

    def __call__(self, parts: Parts) -> Matrix:
        """Return (n, d) float32 of unit norm."""
        return _propagate(parts, self.known, self.vectors)

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Return the arrays from which ``restored`` rebuilds it."""
        return {"known": self.known.vectors, "present": self.known.present, "vectors": self.vectors}

    @classmethod
    def restored(cls, arrays: Mapping[str, NDArray[Any]], modalities: Sequence[Modality]) -> Self:
        """Rebuild it from ``arrays``."""
        return cls(Parts(arrays["known"], arrays["present"], tuple(modalities)), arrays["vectors"])


def fit_graph(parts: Parts, seed: int) -> Propagated:
    """Propagate once among these items, or among ``MAX_KNOWN`` drawn from them."""
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
    """Return (n, known) float32: the best inner product of parts of different modalities; -inf if there are none."""
    best = np.full((len(parts), len(known)), -np.inf, np.float32)
    for one in range(len(parts.modalities)):
        for other in range(len(known.modalities)):
            if one != other:
                scores = parts.vectors[:, one] @ known.vectors[:, other].T
                both = parts.present[:, one, None] & known.present[None, :, other]
                np.maximum(best, np.where(both, scores, -np.inf), out=best)
    return best


def _same_items(parts: Parts, known: Parts) -> NDArray[np.bool_]:
    """Return (n, known) bool: whether all parts are equal except for rounding, so that it is the same item."""
    similarity = np.einsum("nmd,kmd->nk", parts.vectors, known.vectors, optimize=True)
    same_modalities = (parts.present[:, None] == known.present[None]).all(axis=2)
    same: NDArray[np.bool_] = same_modalities & (similarity > parts.present.sum(axis=1)[:, None] - ROUNDING)
    return same


def _mean(parts: Parts) -> Matrix:
    return unit(parts.vectors.sum(axis=1))
