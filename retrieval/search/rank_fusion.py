"""Rank fusion: search each term of a query separately and fuse the rankings.

The sum of the terms finds what is similar to all of them at once. Fused rankings find what ranks high for some of them,
and do not need comparable scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import OptionError
from retrieval.option_checks import check_k, known
from retrieval.types import Hit, Query

Values = NDArray[np.float64]

SMOOTHING = 60
"""The constant of reciprocal rank fusion; the value of its authors."""

MIN_DEPTH = 100
"""Smallest number of hits per term to fuse."""

DEPTH_FACTOR = 10
"""Hits per term to fuse, as a multiple of the requested hits."""

MAX_DEPTH = 1000
"""Largest number of hits per term to fuse, unless more hits are requested; a server returns at most as many."""


class SearchBatch(Protocol):
    """``Searcher.search_batch``: many queries in one call."""

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
    method: str,
    to: str | None,
    k: int,
    where: str | None = None,
    min_percentile: float | None = None,
) -> list[Hit]:
    """Search each term separately and return the ``k`` best hits of the fused rankings, ties by item id.

    Each medium is one hit, with the segment found by the first term that finds the medium. ``contributions`` are what
    the rankings add, multiplied by the terms' weights. Terms with negative weight subtract; they add hits of their own
    only if no term has a positive weight. The hits have no percentile. Items that the query names are left out.

    Args:
        search_batch: searches many queries at once.
        query: of one or more terms.
        method: a name in ``RANK_FUSIONS``.
        to: the target.
        k: maximum number of hits.
        where: a filter on metadata.
        min_percentile: only hits that reach this percentile for some term with positive weight.

    Raises:
        OptionError: ``method`` is unknown, or ``to`` is None; also as ``Searcher.search``.
    """
    known("combine method", method, RANK_FUSIONS)
    if to is None:
        raise OptionError(
            "say what to find: terms that are searched separately may have different default targets"
        )
    k, terms = check_k(k), query.terms()
    single = [Query(**{term.kind: replace(term, weight=1.0)}) for term in terms]
    answers = search_batch(single, to=to, k=fusion_depth(k), where=where, min_percentile=min_percentile)
    query_items = {term.value for term in terms if term.kind == "id"}
    rankings = [[hit for hit in hits if hit.id not in query_items] for hits in answers]
    return fuse_rankings(rankings, [term.weight for term in terms], method, _medium)[:k]


def fusion_depth(k: int) -> int:
    """Return how many hits of each ranking to fuse for ``k`` hits."""
    return max(k, min(MAX_DEPTH, max(MIN_DEPTH, DEPTH_FACTOR * k)))


def fuse_rankings(
    rankings: Sequence[Sequence[Hit]],
    weights: Sequence[float],
    method: str,
    identity: Callable[[Hit], object],
) -> list[Hit]:
    """Fuse several rankings into one, best first, ties by item id.

    Args:
        rankings: each best first, without duplicates.
        weights: of each ranking. If some are above 0, only hits of these rankings are returned.
        method: a name in ``RANK_FUSIONS``.
        identity: a key that equal hits of different rankings share; the first of them is returned.
    """
    distinct = first_hits((hit for hits in rankings for hit in hits), identity)
    hits, column = list(distinct.values()), {key: number for number, key in enumerate(distinct)}
    contributions = np.zeros((len(rankings), len(hits)))
    for row, weight, ranking in zip(contributions, weights, rankings, strict=True):
        scores = np.full((1, len(hits)), np.nan)
        scores[0, [column[identity(hit)] for hit in ranking]] = [hit.score for hit in ranking]
        row[:] = weight * RANK_FUSIONS[method]([scores])[0]
    total = contributions.sum(axis=0)
    positive = [ranking for ranking, weight in zip(rankings, weights, strict=True) if weight > 0] or rankings
    candidates = {column[identity(hit)] for ranking in positive for hit in ranking}
    order = sorted(candidates, key=lambda number: (-total[number], hits[number].id))
    return [
        replace(
            hits[number],
            rank=rank,
            score=float(total[number]),
            percentile=None,
            contributions=tuple(contributions[:, number].tolist()) if len(rankings) > 1 else None,
        )
        for rank, number in enumerate(order, start=1)
    ]


def first_hits(hits: Iterable[Hit], identity: Callable[[Hit], object]) -> dict[object, Hit]:
    """Return the first hit for each ``identity``, in the order of the hits."""
    first: dict[object, Hit] = {}
    for hit in hits:
        first.setdefault(identity(hit), hit)
    return first


def _medium(hit: Hit) -> tuple[object, ...]:
    """Return what all segments of a medium share; ``hit.asset`` is the number of the segment."""
    return hit.id, hit.modality, hit.path if hit.text is None else hit.asset


def reciprocal_ranks(scores: Sequence[NDArray[np.floating]], smoothing: int = SMOOTHING) -> Values:
    """Return the sum over rankings of 1 / (smoothing + rank), (q, n) float64.

    Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual rank learning
    methods" (2009). Ranks start at 1; among equal scores the lower column comes first. NaN, a column that a ranking
    lacks, adds nothing.

    Args:
        scores: of each ranking, (q, n), higher is better.
        smoothing: above -1; the larger, the less the first ranks count.

    Raises:
        OptionError: there are no rankings, or their shapes differ.
    """
    total = np.zeros(_shape(scores))
    for values in scores:
        order = np.argsort(-np.asarray(values, np.float64), axis=1, kind="stable")
        ranks = np.empty(order.shape)
        np.put_along_axis(ranks, order, np.arange(1, order.shape[1] + 1)[None], axis=1)
        total += np.where(np.isnan(values), 0, 1 / (smoothing + ranks))
    return total


def standardised_scores(scores: Sequence[NDArray[np.floating]]) -> Values:
    """Return the sum over rankings of each query's standardised scores, (q, n) float64.

    Standardised means: minus the mean, divided by the standard deviation. A column that a ranking lacks (NaN) gets the
    ranking's lowest score. A ranking is cut off at its end, and a missing column must not rank above a present one. A
    ranking whose scores are all equal adds nothing.

    Raises:
        OptionError: there are no rankings, or their shapes differ.
    """
    total = np.zeros(_shape(scores))
    for ranking in scores:
        values = np.asarray(ranking, np.float64)
        present = ~np.isnan(values)
        count = np.maximum(present.sum(axis=1, keepdims=True), 1)
        filled = np.where(present, values, 0)
        centred = filled - filled.sum(axis=1, keepdims=True) / count
        deviation = np.sqrt((np.where(present, centred, 0) ** 2).sum(axis=1, keepdims=True) / count)
        lowest = np.where(present, centred, np.inf).min(axis=1, keepdims=True, initial=np.inf)
        centred = np.where(present, centred, np.where(np.isfinite(lowest), lowest, 0))
        total += np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 1e-9)
    return total


def _shape(scores: Sequence[NDArray[np.floating]]) -> tuple[int, ...]:
    shapes = {values.shape for values in scores}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise OptionError(f"expected rankings of one shape (q, n), not {sorted(shapes) or 'none'}")
    return shapes.pop()


RANK_FUSIONS: Mapping[str, Callable[[Sequence[Values]], Values]] = MappingProxyType(
    {"rrf": reciprocal_ranks, "zscore": standardised_scores}
)
"""Methods of rank fusion: sums of reciprocal ranks, or of standardised scores."""
