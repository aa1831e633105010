"""The arithmetic of queries: the terms of each, weighted and summed, become one vector of the space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrieval.errors import OptionError
from retrieval.types import Matrix, Term

CANCELLED = 1e-4
"""Share of its terms' weights that a query must be longer than; what is shorter is rounding alone."""


@dataclass(frozen=True, slots=True)
class ComposedQueries:
    """Queries as vectors.

    Attributes:
        vectors: (q, d) float32, unit norm.
        shares: of each query's terms, the factor by which the term's unit vector is in the query's; that of a lone
            term is 1, or -1 where it is not wanted.
        parts: of each query of several terms (t, d) float32 whose rows sum to its vector; None of a lone term.
    """

    vectors: Matrix
    shares: list[list[float]]
    parts: Sequence[Matrix | None]


def compose(
    terms: Sequence[Sequence[Term]], vectors: Callable[[str, list[Term]], Matrix], dimension: int
) -> ComposedQueries:
    """The weighted sum of each query's terms, at unit norm.

    Args:
        terms: of each of q queries.
        vectors: given terms of one kind, their (n, d) vectors.
        dimension: d, columns of the space.

    Raises:
        OptionError: terms that cancel each other, and what ``vectors`` raises.
    """
    lone = [[1.0 if group[0].weight > 0 else -1.0] for group in terms if len(group) == 1]
    if len(lone) == len(terms) and all(group[0].kind == "vector" for group in terms):
        found = vectors("vector", [group[0] for group in terms])
        if all(group[0].weight == 1 for group in terms):
            return ComposedQueries(unit_or_cancelled(found, 1.0), lone, [None] * len(terms))
        weights = np.array([[group[0].weight] for group in terms], np.float32)
        return ComposedQueries(unit_or_cancelled(found * weights, np.abs(weights)), lone, [None] * len(terms))
    total = np.zeros((len(terms), dimension), np.float32)
    lengths = [[0.0] * len(group) for group in terms]
    parts = [np.empty((len(group), dimension), np.float32) if len(group) > 1 else None for group in terms]
    for kind in dict.fromkeys(term.kind for group in terms for term in group):
        places = [
            (at, nth) for at, group in enumerate(terms) for nth, term in enumerate(group) if term.kind == kind
        ]
        own = [terms[at][nth] for at, nth in places]
        weighted = vectors(kind, own) * np.array([[term.weight] for term in own], np.float32)
        np.add.at(total, [at for at, _ in places], weighted)
        for (at, nth), length in zip(places, np.linalg.norm(weighted, axis=1).tolist(), strict=True):
            lengths[at][nth] = length if terms[at][nth].weight > 0 else -length
        for (at, nth), row in zip(places, weighted, strict=True):
            if (summed := parts[at]) is not None:
                summed[nth] = row
    made = unit_or_cancelled(total, np.array([[sum(abs(term.weight) for term in group)] for group in terms]))
    norms = np.linalg.norm(total, axis=1).tolist()
    shares = [[length / norm for length in own] for own, norm in zip(lengths, norms, strict=True)]
    for summed, norm in zip(parts, norms, strict=True):
        if summed is not None:
            np.divide(summed, norm, out=summed)
    return ComposedQueries(
        made, [[float(np.sign(own[0]))] if len(own) == 1 else own for own in shares], parts
    )


def unit_or_cancelled(total: Matrix, weights: float | np.ndarray[Any, np.dtype[np.floating]]) -> Matrix:
    """``total`` (q, d) at unit norm.

    Args:
        total: sums of terms.
        weights: (q, 1) how much there was to sum, or one number for all.

    Raises:
        OptionError: nothing is left of one but rounding.
    """
    norms = np.sqrt(np.vecdot(total, total))[:, None]
    if not (norms > CANCELLED * weights).all():
        raise OptionError("the terms of a query cancel each other: change their weights")
    scaled: Matrix = total / norms
    return scaled


def checked_vectors(values: Sequence[Any], dimension: int) -> Matrix:
    """(n, d) float32: vectors of the space that a query brings itself.

    Raises:
        OptionError: one has another shape, or holds what is no finite number.
    """
    vectors = [np.asarray(value, dtype=np.float32) for value in values]
    shapes = {vector.shape for vector in vectors}
    rows = np.array(vectors) if shapes == {(dimension,)} else None
    if rows is None or not np.isfinite(rows).all():
        wrong = (shapes - {(dimension,)} or shapes).pop()
        raise OptionError(f"a query vector must hold {dimension} finite numbers, not shape {wrong}")
    return rows
