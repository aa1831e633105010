"""The arithmetic of queries: the terms of each, weighted and summed, become one vector of the space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrieval.errors import OptionError
from retrieval.space import Space
from retrieval.types import Matrix, Modality, Term

CANCELLED = 1e-4
"""Share of its terms' weights that a query must be longer than; what is shorter is rounding alone."""


def combine(terms: Sequence[Sequence[Term]], space: Space, item: Callable[[str], Matrix]) -> Matrix:
    """(q, d) float32, unit norm: the weighted sum of each query's terms.

    Args:
        terms: of each of q queries.
        space: where media become vectors.
        item: given the id of an item, its (d,) vector.

    Raises:
        OptionError: a vector of the wrong shape, or terms that cancel each other.
        MediaError: a medium cannot be decoded.
        UnknownItemError: there is no such item.
    """
    if all(len(group) == 1 and group[0].kind == "vector" for group in terms):
        total = np.array([_given(group[0].value, space.dimension) for group in terms])
        weights = np.array([[group[0].weight] for group in terms], np.float32)
        return unit(total * weights, np.abs(weights))
    total = np.zeros((len(terms), space.dimension), np.float32)
    for kind in dict.fromkeys(term.kind for group in terms for term in group):
        places = [(at, term) for at, group in enumerate(terms) for term in group if term.kind == kind]
        vectors = _vectors(kind, [term.value for _, term in places], space, item)
        weights = np.array([term.weight for _, term in places], np.float32)
        np.add.at(total, [at for at, _ in places], vectors * weights[:, None])
    return unit(total, np.array([[sum(abs(term.weight) for term in group)] for group in terms]))


def unit(total: Matrix, weights: np.ndarray[Any, np.dtype[np.floating]]) -> Matrix:
    """``total`` (q, d) at unit norm.

    Args:
        total: sums of terms.
        weights: (q, 1) how much there was to sum.

    Raises:
        OptionError: nothing is left of one but rounding.
    """
    norms = np.linalg.norm(total, axis=1, keepdims=True)
    if not (norms > CANCELLED * weights).all():
        raise OptionError("the terms of a query cancel each other: change their weights")
    scaled: Matrix = total / norms
    return scaled


def _vectors(kind: str, values: list[Any], space: Space, item: Callable[[str], Matrix]) -> Matrix:
    if kind == "vector":
        return np.stack([_given(value, space.dimension) for value in values])
    if kind == "id":
        return np.stack([item(value) for value in values])
    return space.encode(Modality(kind), values)


def _given(value: Any, dimension: int) -> Matrix:
    vector = np.asarray(value, dtype=np.float32)
    if vector.shape != (dimension,) or not np.isfinite(vector).all():
        raise OptionError(f"a query vector must hold {dimension} finite numbers, not shape {vector.shape}")
    return vector
