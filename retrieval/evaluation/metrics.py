"""Retrieval measures, computed from the ranks of the relevant assets.

:mod:`retrieval.evaluation.ranking` computes the ranks. Queries without a relevant asset are counted, and excluded from
every average.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import OptionError
from retrieval.types import Integers

Values: TypeAlias = NDArray[np.float64]
"""A float64 array of shape (queries,)."""


@dataclass(frozen=True, slots=True)
class RelevantRanks:
    """Ranks of the relevant assets in each query's ranking, for all queries in three flat arrays.

    Attributes:
        ranks: (found,) int64, 1 for the best, ascending within a query.
        offsets: (q + 1,) int64; ``ranks[offsets[i]:offsets[i + 1]]`` belong to query i.
        relevant: (q,) int64, the number of relevant assets of each query; those without a rank were not retrieved
            and count as infinitely far down.
        gains: (found,) float64, how relevant the asset at each rank is, above 0; None when all are equal.
        ideal: (relevant.sum(),) float64, the gains of all relevant assets, query by query, descending; present if
            ``gains`` is.
    """

    ranks: Integers
    offsets: Integers
    relevant: Integers
    gains: Values | None = None
    ideal: Values | None = None

    @property
    def query_numbers(self) -> Integers:
        """(found,) int64: the number of the query that each rank belongs to."""
        return np.repeat(np.arange(len(self.relevant)), np.diff(self.offsets))

    @property
    def first(self) -> Values:
        """(q,) float64: the rank of the first relevant asset, infinite if none was retrieved."""
        found = np.diff(self.offsets) > 0
        first = np.full(len(self.relevant), np.inf)
        first[found] = self.ranks[self.offsets[:-1][found]]
        return first

    def truncate(self, depth: int) -> RelevantRanks:
        """Return the ranks within the first ``depth`` results, as from an index that returns only so many."""
        within = self.ranks <= depth
        counts = np.bincount(self.query_numbers[within], minlength=len(self.relevant))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        gains = None if self.gains is None else self.gains[within]
        return replace(self, ranks=self.ranks[within], offsets=offsets, gains=gains)

    def with_missing_queries(self, gains: Sequence[Values]) -> RelevantRanks:
        """Return these ranks followed by queries for which nothing was retrieved.

        Args:
            gains: for each of these queries, the gains of its relevant assets.
        """
        if not gains:
            return self
        own_gains = np.ones(len(self.ranks)) if self.gains is None else self.gains
        ideal = np.ones(int(self.relevant.sum())) if self.ideal is None else self.ideal
        return RelevantRanks(
            self.ranks,
            np.concatenate([self.offsets, np.full(len(gains), self.offsets[-1])]),
            np.concatenate([self.relevant, [len(each) for each in gains]]).astype(np.int64),
            own_gains,
            np.concatenate([ideal, *(np.sort(each)[::-1] for each in gains)]),
        )


@dataclass(frozen=True, slots=True)
class Measure:
    """A retrieval measure. Its text parses back: ``str(Measure.parse("hit@10")) == "hit@10"``.

    ==================  =====================================================================================
    ``hit@k``           share of queries with a relevant asset among the first k results (R@k in CLIP papers)
    ``recall@k``        share of a query's relevant assets among the first k results, averaged over queries
    ``mrr``             mean of 1 / rank of the first relevant asset, 0 if none was retrieved
    ``map``             mean over queries of average precision: the precision at each relevant asset, averaged
                        over all relevant assets, 0 for those not retrieved (as trec_eval's ``map``)
    ``map@k``           the same; results after the first k count as not retrieved (trec_eval's ``map_cut``)
    ``ndcg``            discounted cumulative gain, gain / log2(rank + 1) summed over the relevant assets, as a
                        share of that of the best ranking (Järvelin and Kekäläinen, 2002; trec_eval's ``ndcg``:
                        gains are used as judged, not as powers of two)
    ``ndcg@k``          the same over the first k results
    ``median_rank``     median over queries of the rank of the first relevant asset
    ``mean_rank``       mean over queries of the same rank
    ==================  =====================================================================================

    Attributes:
        name: the measure's name, without its cutoff.
        cutoff: use only the first so many results; all when None.
    """

    name: str
    cutoff: int | None = None

    def __post_init__(self) -> None:
        known = ", ".join(each.cutoff.value.format(name) for name, each in _DEFINITIONS.items())
        if self.name not in _DEFINITIONS:
            raise OptionError(f"unknown measure {str(self)!r}: expected one of {known}")
        refused = _Cutoff.REQUIRED if self.cutoff is None else _Cutoff.NONE
        if _DEFINITIONS[self.name].cutoff is refused:
            raise OptionError(f"measure {str(self)!r} must be written as one of {known}")
        if self.cutoff is not None and self.cutoff < 1:
            raise OptionError(f"the cutoff of {str(self)!r} must be at least 1")

    def __str__(self) -> str:
        return self.name if self.cutoff is None else f"{self.name}@{self.cutoff}"

    @classmethod
    def parse(cls, text: str) -> Measure:
        """Return the measure that ``text`` names.

        Raises:
            OptionError: the measure is unknown, or its cutoff is missing, not allowed or below 1.
        """
        name, at, cutoff = text.partition("@")
        if at and not re.fullmatch("[0-9]{1,9}", cutoff):
            raise OptionError(f"the cutoff of measure {text!r} must be a whole number, as in hit@10")
        return cls(name, int(cutoff) if at else None)

    @property
    def is_mean(self) -> bool:
        """Whether the figure is the mean of the values, and not their median."""
        return _DEFINITIONS[self.name].average is np.mean

    @property
    def is_rank(self) -> bool:
        """Whether the measure is a rank, so that lower is better; all others are shares, from 0 to 1."""
        return _DEFINITIONS[self.name].values is _first_rank

    def values(self, ranks: RelevantRanks) -> Values:
        """Return the measure of each query, (q,) float64, before averaging; NaN for queries without relevant assets."""
        values = np.full(len(ranks.relevant), np.nan)
        judged = ranks.relevant > 0
        values[judged] = _DEFINITIONS[self.name].values(ranks, self.cutoff)[judged]
        return values

    def average(self, values: Values) -> float | None:
        """Return the figure for a set of queries, from their :meth:`values`.

        Returns:
            The mean (or median) over the queries that have a relevant asset. None if there is no such query, and if
            the figure is not finite (ranks, when nothing relevant was retrieved): JSON has neither NaN nor infinity.
        """
        judged = values[~np.isnan(values)]
        figure = float(_DEFINITIONS[self.name].average(judged)) if len(judged) else np.inf
        return figure if np.isfinite(figure) else None


def standard_measures(ks: Iterable[int] = (1, 5, 10)) -> tuple[Measure, ...]:
    """Return all measures: those with a cutoff once per k, those with an optional cutoff also without it.

    Raises:
        OptionError: a k is below 1.
    """
    ks = list(ks)
    cutoffs: dict[_Cutoff, list[int | None]] = {
        _Cutoff.REQUIRED: [*ks],
        _Cutoff.OPTIONAL: [None, *ks],
        _Cutoff.NONE: [None],
    }
    return tuple(Measure(name, k) for name, each in _DEFINITIONS.items() for k in cutoffs[each.cutoff])


def summarise(ranks: RelevantRanks, measures: Iterable[Measure]) -> dict[str, int | float | None]:
    """Return every measure over the queries that have a relevant asset.

    Returns:
        ``queries`` (those with a relevant asset), ``queries_without_relevant`` (the others, excluded from averages),
        then each measure by its text; None as in :meth:`Measure.average`.
    """
    judged = int((ranks.relevant > 0).sum())
    counts = {"queries": judged, "queries_without_relevant": len(ranks.relevant) - judged}
    return counts | {str(measure): measure.average(measure.values(ranks)) for measure in measures}


class _Cutoff(Enum):
    """Whether a measure is written with ``@k``."""

    REQUIRED = "{0}@k"
    OPTIONAL = "{0}, {0}@k"
    NONE = "{0}"


@dataclass(frozen=True, slots=True)
class _Definition:
    """One measure: the value of each query (any value for queries without relevant assets), and their average."""

    values: Callable[[RelevantRanks, int | None], Values]
    average: Callable[[Values], np.floating[Any]]
    cutoff: _Cutoff = _Cutoff.NONE


def _hit(ranks: RelevantRanks, cutoff: int | None) -> Values:
    return (ranks.first <= _bound(cutoff)).astype(np.float64)


def _recall(ranks: RelevantRanks, cutoff: int | None) -> Values:
    within = ranks.ranks <= _bound(cutoff)
    return _sum_by_query(ranks, within) / np.maximum(ranks.relevant, 1)


def _reciprocal_rank(ranks: RelevantRanks, _: int | None) -> Values:
    return 1.0 / ranks.first


def _average_precision(ranks: RelevantRanks, cutoff: int | None) -> Values:
    position = np.arange(1, len(ranks.ranks) + 1) - ranks.offsets[ranks.query_numbers]
    precision = np.where(ranks.ranks <= _bound(cutoff), position / ranks.ranks, 0.0)
    return _sum_by_query(ranks, precision) / np.maximum(ranks.relevant, 1)


def _normalised_gain(ranks: RelevantRanks, cutoff: int | None) -> Values:
    gains = (1.0 if ranks.gains is None else ranks.gains) / np.log2(ranks.ranks + 1)
    total = _sum_by_query(ranks, np.where(ranks.ranks <= _bound(cutoff), gains, 0.0))
    return total / np.maximum(_ideal_gain(ranks, cutoff), np.finfo(np.float64).tiny)


def _ideal_gain(ranks: RelevantRanks, cutoff: int | None) -> Values:
    """Return the gain of the best ranking, (q,): all relevant assets first, in order of descending gain."""
    most_relevant = int(ranks.relevant.max(initial=0))
    discounts = 1 / np.log2(np.arange(most_relevant) + 2)
    if cutoff is not None:
        discounts[cutoff:] = 0.0
    if ranks.ideal is None:
        best: Values = np.concatenate([[0.0], np.cumsum(discounts)])[ranks.relevant]
        return best
    query_numbers = np.repeat(np.arange(len(ranks.relevant)), ranks.relevant)
    starts = np.cumsum(ranks.relevant) - ranks.relevant
    positions = np.arange(len(query_numbers)) - starts[query_numbers]
    return np.bincount(query_numbers, ranks.ideal * discounts[positions], len(ranks.relevant)).astype(
        np.float64
    )


def _first_rank(ranks: RelevantRanks, _: int | None) -> Values:
    return ranks.first


def _bound(cutoff: int | None) -> float:
    return np.inf if cutoff is None else cutoff


def _sum_by_query(ranks: RelevantRanks, values: NDArray[Any]) -> Values:
    return np.bincount(ranks.query_numbers, values, len(ranks.relevant)).astype(np.float64)


_DEFINITIONS = {
    "hit": _Definition(_hit, np.mean, _Cutoff.REQUIRED),
    "recall": _Definition(_recall, np.mean, _Cutoff.REQUIRED),
    "ndcg": _Definition(_normalised_gain, np.mean, _Cutoff.OPTIONAL),
    "map": _Definition(_average_precision, np.mean, _Cutoff.OPTIONAL),
    "mrr": _Definition(_reciprocal_rank, np.mean),
    "median_rank": _Definition(_first_rank, np.median),
    "mean_rank": _Definition(_first_rank, np.mean),
}
