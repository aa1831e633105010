"""How well rankings find what is relevant: measures over the ranks of the relevant assets.

What is measured stands here; :mod:`retrieval.ranking` computes the ranks. Queries with no relevant asset are
counted, and left out of every average.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import OptionError
from retrieval.types import Integers

Values: TypeAlias = NDArray[np.float64]
"""A float64 array of shape (queries,)."""


@dataclass(frozen=True, slots=True)
class RelevantRanks:
    """Where the relevant assets of each query came in its ranking, all queries in three flat arrays.

    Attributes:
        ranks: (found,) int64, 1 for the best, ascending within a query.
        offsets: (q + 1,) int64; query i owns ``ranks[offsets[i]:offsets[i + 1]]``.
        relevant: (q,) int64, how many relevant assets each query has; those without a rank were not retrieved
            and count as infinitely far down.
    """

    ranks: Integers
    offsets: Integers
    relevant: Integers

    @property
    def owners(self) -> Integers:
        """(found,) int64: the query each rank belongs to."""
        return np.repeat(np.arange(len(self.relevant)), np.diff(self.offsets))

    @property
    def first(self) -> Values:
        """(q,) float64: the rank of the best relevant asset, infinite where none was retrieved."""
        found = np.diff(self.offsets) > 0
        first = np.full(len(self.relevant), np.inf)
        first[found] = self.ranks[self.offsets[:-1][found]]
        return first


@dataclass(frozen=True, slots=True)
class Measure:
    """What is measured. Its text parses back: ``str(Measure.parse("hit@10")) == "hit@10"``.

    ==================  =====================================================================================
    ``hit@k``           share of queries with a relevant asset among the first k (R@k in CLIP papers)
    ``recall@k``        share of a query's relevant assets among the first k, averaged over queries
    ``mrr``             mean of 1 / rank of the first relevant asset, 0 where none was retrieved
    ``map``             mean over queries of average precision: precision at each relevant asset, averaged
                        over all that are relevant, 0 for those not retrieved (as trec_eval's ``map``)
    ``median_rank``     median over queries of the rank of the first relevant asset
    ``mean_rank``       mean of the same
    ==================  =====================================================================================

    Attributes:
        name: the measure's name, without its cutoff.
        cutoff: how many of the first results are looked at; None for all.
    """

    name: str
    cutoff: int | None = None

    def __post_init__(self) -> None:
        known = ", ".join(f"{name}@k" if each.has_cutoff else name for name, each in _DEFINITIONS.items())
        if self.name not in _DEFINITIONS:
            raise OptionError(f"unknown measure {str(self)!r}: expected one of {known}")
        if _DEFINITIONS[self.name].has_cutoff != (self.cutoff is not None):
            raise OptionError(f"measure {str(self)!r} must be written as one of {known}")
        if self.cutoff is not None and self.cutoff < 1:
            raise OptionError(f"the cutoff of {str(self)!r} must be at least 1")

    def __str__(self) -> str:
        return self.name if self.cutoff is None else f"{self.name}@{self.cutoff}"

    @classmethod
    def parse(cls, text: str) -> Measure:
        """The measure that ``text`` names.

        Raises:
            OptionError: there is no such measure, or its cutoff is missing, superfluous or below 1.
        """
        name, at, cutoff = text.partition("@")
        if at and not re.fullmatch("[0-9]{1,9}", cutoff):
            raise OptionError(f"the cutoff of measure {text!r} must be a whole number, as in hit@10")
        return cls(name, int(cutoff) if at else None)

    def values(self, ranks: RelevantRanks) -> Values:
        """(q,) float64: the measure of each query, before averaging; NaN where nothing is relevant."""
        values = np.full(len(ranks.relevant), np.nan)
        judged = ranks.relevant > 0
        values[judged] = _DEFINITIONS[self.name].values(ranks, self.cutoff)[judged]
        return values

    def average(self, values: Values) -> float | None:
        """The figure reported for a set of queries, from what :meth:`values` gave for them.

        Returns:
            The mean (or median) over the queries that have a relevant asset. None where there is no such
            query, and where the figure is not finite (ranks, when nothing relevant was retrieved): JSON has
            neither NaN nor infinity.
        """
        judged = values[~np.isnan(values)]
        figure = float(_DEFINITIONS[self.name].average(judged)) if len(judged) else np.inf
        return figure if np.isfinite(figure) else None


def standard_measures(ks: Iterable[int] = (1, 5, 10)) -> tuple[Measure, ...]:
    """``hit@k`` for every k, ``recall@k`` for every k, ``mrr``, ``map``, ``median_rank`` and ``mean_rank``.

    Raises:
        OptionError: a k is below 1.
    """
    cutoffs = {name: list(ks) if each.has_cutoff else [None] for name, each in _DEFINITIONS.items()}
    return tuple(Measure(name, cutoff) for name, its in cutoffs.items() for cutoff in its)


def summarise(ranks: RelevantRanks, measures: Iterable[Measure]) -> dict[str, int | float | None]:
    """Every measure over the queries that have a relevant asset.

    Returns:
        ``queries`` (those with a relevant asset), ``queries_without_relevant`` (the others: in no average),
        then each measure by its text; None as in :meth:`Measure.average`.
    """
    judged = int((ranks.relevant > 0).sum())
    counts = {"queries": judged, "queries_without_relevant": len(ranks.relevant) - judged}
    return counts | {str(measure): measure.average(measure.values(ranks)) for measure in measures}


@dataclass(frozen=True, slots=True)
class _Definition:
    """One measure: the value of each query (those without relevant assets may get any), and their average."""

    values: Callable[[RelevantRanks, int | None], Values]
    average: Callable[[Values], np.floating[Any]]
    has_cutoff: bool = False


def _hit(ranks: RelevantRanks, cutoff: int | None) -> Values:
    return (ranks.first <= _bound(cutoff)).astype(np.float64)


def _recall(ranks: RelevantRanks, cutoff: int | None) -> Values:
    within = ranks.ranks <= _bound(cutoff)
    return _sum_by_query(ranks, within) / np.maximum(ranks.relevant, 1)


def _reciprocal_rank(ranks: RelevantRanks, _: int | None) -> Values:
    return 1.0 / ranks.first


def _average_precision(ranks: RelevantRanks, _: int | None) -> Values:
    nth = np.arange(1, len(ranks.ranks) + 1) - ranks.offsets[ranks.owners]
    return _sum_by_query(ranks, nth / ranks.ranks) / np.maximum(ranks.relevant, 1)


def _first_rank(ranks: RelevantRanks, _: int | None) -> Values:
    return ranks.first


def _bound(cutoff: int | None) -> float:
    return np.inf if cutoff is None else cutoff


def _sum_by_query(ranks: RelevantRanks, values: NDArray[Any]) -> Values:
    return np.bincount(ranks.owners, values, len(ranks.relevant)).astype(np.float64)


_DEFINITIONS = {
    "hit": _Definition(_hit, np.mean, has_cutoff=True),
    "recall": _Definition(_recall, np.mean, has_cutoff=True),
    "mrr": _Definition(_reciprocal_rank, np.mean),
    "map": _Definition(_average_precision, np.mean),
    "median_rank": _Definition(_first_rank, np.median),
    "mean_rank": _Definition(_first_rank, np.mean),
}
