"""Several searches, one ranking: every term of a query is searched by itself, and the rankings are joined.

A sum of terms finds what is like all of them at once; joined rankings find what is high in some of them, and need no
scores that can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import OptionError
from retrieval.types import Hit, Query
from retrieval.validation import check_k, known

Values = NDArray[np.float64]

SMOOTHING = 60
"""The constant of reciprocal rank fusion, its authors'."""

MIN_DEPTH = 100
"""Hits of each term that are joined, at least."""

DEPTH_FACTOR = 10
"""As many times the hits that are wanted are joined of each term, where that is more."""

MAX_DEPTH = 1000
"""Hits of each term that are joined for fewer that are wanted, at most: what a server answers."""


class SearchBatch(Protocol):
    """``Searcher.search_batch``: many queries in a call."""

    def __call__(
        self,
        queries: Sequence[Query],
        *,
        to: str | None = None,
        k: int = 10,
        where: str | None = None,
        min_percentile: float | None = None,
    ) -> Sequence[Sequence[Hit]]:
        """Return the hits of each query, best first."""
        ...


def search_and_fuse(
    search_batch: SearchBatch,
    query: Query,
    *,
    way: str,
    to: str | None,
    k: int,
    where: str | None = None,
    min_percentile: float | None = None,
) -> list[Hit]:
    """The ``k`` best of the rankings of all terms that are wanted, ties by item id.

    A medium is one hit, with the segment that the first of the terms to find it found. Its ``contributions`` are what
    the rankings add, by the terms' weights; what is not wanted is taken off, and finds hits of its own only where
    nothing is wanted. They have no percentile. Items that the query names are not among them.

    Args:
        search_batch: searches many queries at once.
        query: of one term or more.
        way: a name in ``WAYS``.
        to: what to find.
        k: at most this many hits.
        where: a filter on metadata.
        min_percentile: only hits that are as rare as that for some term that is wanted.

    Raises:
        OptionError: ``way`` is unknown, or ``to`` is left out; and as ``Searcher.search``.
    """
    known("way to combine", way, RANK_FUSIONS)
    if to is None:
        raise OptionError("say what to find: terms that are searched one by one may ask for different things")
    k, terms = check_k(k), query.terms()
    lone = [Query(**{term.kind: replace(term, weight=1.0)}) for term in terms]
    found = search_batch(lone, to=to, k=fusion_depth(k), where=where, min_percentile=min_percentile)
    named = {term.value for term in terms if term.kind == "id"}
    rankings = [[hit for hit in hits if hit.id not in named] for hits in found]
    return fuse_rankings(rankings, [term.weight for term in terms], way, _medium)[:k]


def fusion_depth(k: int) -> int:
    """How many hits of each ranking are joined where ``k`` are wanted."""
    return max(k, min(MAX_DEPTH, max(MIN_DEPTH, DEPTH_FACTOR * k)))


def fuse_rankings(
    rankings: Sequence[Sequence[Hit]], weights: Sequence[float], way: str, medium: Callable[[Hit], object]
) -> list[Hit]:
    """One ranking of what is in several, best first, ties by item id.

    Args:
        rankings: each best first, none with a medium twice.
        weights: of each; what those above 0 do not hold is not among the hits, where there are such.
        way: a name in ``WAYS``.
        medium: of a hit, what it has in common with the hits of other rankings that are the same; of these the first
            is kept.
    """
    shown = first_hits((hit for hits in rankings for hit in hits), medium)
    hits, place = list(shown.values()), {own: at for at, own in enumerate(shown)}
    added = np.zeros((len(rankings), len(hits)))
    for own, weight, ranking in zip(added, weights, rankings, strict=True):
        scores = np.full((1, len(hits)), np.nan)
        scores[0, [place[medium(hit)] for hit in ranking]] = [hit.score for hit in ranking]
        own[:] = weight * RANK_FUSIONS[way]([scores])[0]
    total = added.sum(axis=0)
    wanted = [own for own, weight in zip(rankings, weights, strict=True) if weight > 0] or rankings
    candidates = {place[medium(hit)] for ranking in wanted for hit in ranking}
    order = sorted(candidates, key=lambda at: (-total[at], hits[at].id))
    return [
        replace(
            hits[at],
            rank=rank,
            score=float(total[at]),
            percentile=None,
            contributions=tuple(added[:, at].tolist()) if len(rankings) > 1 else None,
        )
        for rank, at in enumerate(order, start=1)
    ]


def first_hits(hits: Iterable[Hit], medium: Callable[[Hit], object]) -> dict[object, Hit]:
    """The first hit of each medium, in the order of these, by what ``medium`` says of it."""
    found: dict[object, Hit] = {}
    for hit in hits:
        found.setdefault(medium(hit), hit)
    return found


def _medium(hit: Hit) -> tuple[object, ...]:
    """What all segments of a medium share; ``hit.asset`` is the segment's own."""
    return hit.id, hit.modality, hit.path if hit.text is None else hit.asset


def reciprocal_ranks(scores: Sequence[NDArray[np.floating]], smoothing: int = SMOOTHING) -> Values:
    """(q, n) float64: the sum over rankings of 1 / (smoothing + rank).

    Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual rank learning
    methods" (2009). Ranks start at 1, and among equals the lower place comes first; NaN, what a ranking does not
    hold, adds nothing.

    Args:
        scores: of each ranking, (q, n), higher is better.
        smoothing: above -1; the larger, the less the first ranks count.

    Raises:
        OptionError: there are no rankings, or they are of other things.
    """
    total = np.zeros(_shape(scores))
    for own in scores:
        order = np.argsort(-np.asarray(own, np.float64), axis=1, kind="stable")
        ranks = np.empty(order.shape)
        np.put_along_axis(ranks, order, np.arange(1, order.shape[1] + 1)[None], axis=1)
        total += np.where(np.isnan(own), 0, 1 / (smoothing + ranks))
    return total


def standardised_scores(scores: Sequence[NDArray[np.floating]]) -> Values:
    """(q, n) float64: the sum over rankings of each query's scores less their mean, by their deviation.

    What a ranking does not hold (NaN) is taken to be as low as the lowest that it holds: a ranking is cut off below,
    and what is missing must not pass what is there. A ranking whose scores are all the same adds nothing.

    Raises:
        OptionError: there are no rankings, or they are of other things.
    """
    total = np.zeros(_shape(scores))
    for own in scores:
        values = np.asarray(own, np.float64)
        held = ~np.isnan(values)
        count = np.maximum(held.sum(axis=1, keepdims=True), 1)
        known = np.where(held, values, 0)
        away = known - known.sum(axis=1, keepdims=True) / count
        deviation = np.sqrt((np.where(held, away, 0) ** 2).sum(axis=1, keepdims=True) / count)
        lowest = np.where(held, away, np.inf).min(axis=1, keepdims=True, initial=np.inf)
        away = np.where(held, away, np.where(np.isfinite(lowest), lowest, 0))
        total += np.divide(away, deviation, out=np.zeros_like(away), where=deviation > 1e-9)
    return total


def _shape(scores: Sequence[NDArray[np.floating]]) -> tuple[int, ...]:
    shapes = {own.shape for own in scores}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise OptionError(f"expected rankings of one shape (q, n), not {sorted(shapes) or 'none'}")
    return shapes.pop()


RANK_FUSIONS: Mapping[str, Callable[[Sequence[Values]], Values]] = MappingProxyType(
    {"rrf": reciprocal_ranks, "zscore": standardised_scores}
)
"""How rankings are joined: by sums of reciprocal ranks, or of scores less their mean by their deviation."""
