"""Query composition: the weighted sum of a query's terms as one vector of the space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrieval.errors import OptionError
from retrieval.types import Matrix, Term

CANCELLED = 1e-4
"""Minimum length of a query, relative to the sum of its terms' weights. Anything shorter is only rounding."""


@dataclass(frozen=True, slots=True)
class ComposedQueries:
    """Queries as vectors.

    Attributes:
        vectors: (q, d) float32, unit norm.
        shares: for each query and term, the factor of the term's unit vector in the query's vector; 1 for a single
            term, or -1 if its weight is negative.
        parts: for each query of several terms, (t, d) float32 whose rows sum to its vector; None for a single term.
    """

    vectors: Matrix
    shares: list[list[float]]
    parts: Sequence[Matrix | None]


def compose(
    terms: Sequence[Sequence[Term]], vectors: Callable[[str, list[Term]], Matrix], dimension: int
) -> ComposedQueries:
    """Return the weighted sum of each query's terms, at unit norm.

    Args:
        terms: of each of q queries.
        vectors: returns the (n, d) vectors of terms of one kind.
        dimension: d, columns of the space.

    Raises:
        OptionError: the terms of a query cancel each other; also as ``vectors`` raises.
    """
    single_shares = [[1.0 if group[0].weight > 0 else -1.0] for group in terms if len(group) == 1]
    if len(single_shares) == len(terms) and all(group[0].kind == "vector" for group in terms):
        given = vectors("vector", [group[0] for group in terms])
        no_parts = [None] * len(terms)
        if all(group[0].weight == 1 for group in terms):
            return ComposedQueries(unit_or_cancelled(given, 1.0), single_shares, no_parts)
        weights = np.array([[group[0].weight] for group in terms], np.float32)
        return ComposedQueries(unit_or_cancelled(given * weights, np.abs(weights)), single_shares, no_parts)
    total = np.zeros((len(terms), dimension), np.float32)
    lengths = [[0.0] * len(group) for group in terms]
    parts = [np.empty((len(group), dimension), np.float32) if len(group) > 1 else None for group in terms]
    for kind in dict.fromkeys(term.kind for group in terms for term in group):
        places = [
            (query, position)
            for query, group in enumerate(terms)
            for position, term in enumerate(group)
            if term.kind == kind
        ]
        kind_terms = [terms[query][position] for query, position in places]
        weighted = vectors(kind, kind_terms) * np.array([[term.weight] for term in kind_terms], np.float32)
        np.add.at(total, [query for query, _ in places], weighted)
        norms = np.linalg.norm(weighted, axis=1).tolist()
        for (query, position), length in zip(places, norms, strict=True):
            lengths[query][position] = length if terms[query][position].weight > 0 else -length
        for (query, position), row in zip(places, weighted, strict=True):
            if (query_parts := parts[query]) is not None:
                query_parts[position] = row
    unit_vectors = unit_or_cancelled(
        total, np.array([[sum(abs(term.weight) for term in group)] for group in terms])
    )
    norms = np.linalg.norm(total, axis=1).tolist()
    shares = [
        [length / norm for length in query_lengths]
        for query_lengths, norm in zip(lengths, norms, strict=True)
    ]
    for query_parts, norm in zip(parts, norms, strict=True):
        if query_parts is not None:
            np.divide(query_parts, norm, out=query_parts)
    return ComposedQueries(
        unit_vectors,
        [[float(np.sign(share[0]))] if len(share) == 1 else share for share in shares],
        parts,
    )


def unit_or_cancelled(total: Matrix, weights: float | np.ndarray[Any, np.dtype[np.floating]]) -> Matrix:
    """Return ``total`` (q, d) at unit norm.

    Args:
        total: sums of terms.
        weights: (q, 1) sum of the absolute weights of each query, or one number for all.

    Raises:
        OptionError: only rounding is left of a query.
    """
    norms = np.sqrt(np.vecdot(total, total))[:, None]
    if not (norms > CANCELLED * weights).all():
        raise OptionError("the terms of a query cancel each other: change their weights")
    scaled: Matrix = total / norms
    return scaled


def checked_vectors(values: Sequence[Any], dimension: int) -> Matrix:
    """Return the vectors that a query contains, (n, d) float32.

    Raises:
        OptionError: one has another shape, or contains a number that is not finite.
    """
    vectors = [np.asarray(value, dtype=np.float32) for value in values]
    shapes = {vector.shape for vector in vectors}
    rows = np.array(vectors) if shapes == {(dimension,)} else None
    if rows is None or not np.isfinite(rows).all():
        wrong = (shapes - {(dimension,)} or shapes).pop()
        raise OptionError(f"a query vector must hold {dimension} finite numbers, not shape {wrong}")
    return rows
