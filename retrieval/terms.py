"""The arithmetic of queries: the terms of each, weighted and summed, become one vector of the space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrieval.errors import OptionError
from retrieval.types import Matrix, Term

CANCELLED = 1e-4
"""Share of its terms' weights that a query must be longer than; what is shorter is rounding alone."""


def combine(
    terms: Sequence[Sequence[Term]], vectors: Callable[[str, list[Term]], Matrix], dimension: int
) -> Matrix:
    """(q, d) float32, unit norm: the weighted sum of each query's terms.

    Args:
        terms: of each of q queries.
        vectors: given terms of one kind, their (n, d) vectors.
        dimension: d, columns of the space.

    Raises:
        OptionError: terms that cancel each other, and what ``vectors`` raises.
    """
    if all(len(group) == 1 and group[0].kind == "vector" for group in terms):
        weights = np.array([[group[0].weight] for group in terms], np.float32)
        return unit(vectors("vector", [group[0] for group in terms]) * weights, np.abs(weights))
    total = np.zeros((len(terms), dimension), np.float32)
    for kind in dict.fromkeys(term.kind for group in terms for term in group):
        places = [(at, term) for at, group in enumerate(terms) for term in group if term.kind == kind]
        found = vectors(kind, [term for _, term in places])
        weights = np.array([term.weight for _, term in places], np.float32)
        np.add.at(total, [at for at, _ in places], found * weights[:, None])
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


def given(values: Sequence[Any], dimension: int) -> Matrix:
    """(n, d) float32: vectors of the space that a query brings itself.

    Raises:
        OptionError: one has another shape, or holds what is no finite number.
    """
    vectors = [np.asarray(value, dtype=np.float32) for value in values]
    for vector in vectors:
        if vector.shape != (dimension,) or not np.isfinite(vector).all():
            raise OptionError(
                f"a query vector must hold {dimension} finite numbers, not shape {vector.shape}"
            )
    return np.stack(vectors)
