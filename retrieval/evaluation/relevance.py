"""Which assets of a gallery are relevant to which query, and how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from retrieval.errors import OptionError
from retrieval.evaluation.metrics import Values
from retrieval.types import Integers

Pairs: TypeAlias = tuple[Integers, Integers, Values | None]
"""Query number, gallery row and gain of each relevant pair; gains are None when all are 1."""


class Relevance(Protocol):
    """What is relevant among n gallery rows to each of q queries. A query is never relevant to itself."""

    query_rows: Integers
    """(q,) the gallery row that is the query itself, -1 where the gallery does not hold it."""

    totals: Integers
    """(q,) how many relevant assets each query has, those that the gallery lacks among them."""

    ideal: Values | None
    """(totals.sum(),) their gains, query by query, descending; None when all are 1."""

    @property
    def shape(self) -> tuple[int, int]:
        """(q, n)."""
        ...

    def pairs(self, rows: slice) -> Pairs:
        """Every relevant pair of these queries, numbered from the slice's start; by query, then by row."""
        ...

    def gains_of(self, owners: Integers, columns: Integers) -> Values:
        """(m,) the gain of each pair of a query and a gallery row, 0 where it is not relevant."""
        ...


class SameLabel:
    """What has the query's label is relevant: the number of the item, or the code of a column's value.

    Attributes:
        query_rows: see ``Relevance``.
        totals: see ``Relevance``.
        ideal: None, all gains are 1.
    """

    ideal: Values | None = None

    def __init__(
        self, query_labels: Integers, gallery_labels: Integers, query_rows: Integers | None = None
    ) -> None:
        """Take the labels: (q,) and (n,) int64, a negative one is relevant to nothing.

        Raises:
            OptionError: ``query_rows`` are not q rows of the gallery or -1.
        """
        self._query_labels, self._gallery_labels = query_labels, gallery_labels
        self.query_rows = checked_rows(query_rows, len(query_labels), len(gallery_labels))
        # A gallery row of the same label stands in order[low:high], ascending.
        self._order = np.argsort(gallery_labels, kind="stable")
        ordered = gallery_labels[self._order]
        self._low, high = (np.searchsorted(ordered, query_labels, side) for side in ("left", "right"))
        self._counts = np.where(query_labels >= 0, high - self._low, 0)
        itself = (self.query_rows >= 0) & (query_labels >= 0)
        itself[itself] = gallery_labels[self.query_rows[itself]] == query_labels[itself]
        self.totals: Integers = self._counts - itself

    @property
    def shape(self) -> tuple[int, int]:
        """See ``Relevance``."""
        return len(self._query_labels), len(self._gallery_labels)

    def pairs(self, rows: slice) -> Pairs:
        """See ``Relevance``."""
        low, counts = self._low[rows], self._counts[rows]
        owners = np.repeat(np.arange(len(counts)), counts)
        within = np.arange(len(owners)) - offsets(counts)[owners]
        columns = self._order[low[owners] + within]
        others = columns != self.query_rows[rows][owners]
        return owners[others], columns[others], None

    def gains_of(self, owners: Integers, columns: Integers) -> Values:
        """See ``Relevance``."""
        wanted = self._query_labels[owners]
        same = (self._gallery_labels[columns] == wanted) & (wanted >= 0)
        gains: Values = (same & (columns != self.query_rows[owners])).astype(np.float64)
        return gains


@dataclass(frozen=True, slots=True)
class RelevancePairs:
    """Judgements as three arrays of one length.

    Attributes:
        owners: (m,) int64 query numbers.
        columns: (m,) int64 gallery rows; -1 for an asset that the gallery lacks, which is never found.
        gains: (m,) float64; what is not above 0 is not relevant.
    """

    owners: Integers
    columns: Integers
    gains: Values


class Qrels:
    """What somebody judged relevant, by how much.

    Attributes:
        query_rows: see ``Relevance``.
        totals: see ``Relevance``.
        ideal: see ``Relevance``.
    """

    def __init__(
        self, judged: RelevancePairs, shape: tuple[int, int], query_rows: Integers | None = None
    ) -> None:
        """Take judgements of ``shape`` (q, n); of a pair that was judged twice the first counts.

        Raises:
            OptionError: a query or row is outside ``shape``.
        """
        self.shape = shape
        self.query_rows = checked_rows(query_rows, *shape)
        owners, columns, gains = judged.owners, judged.columns, judged.gains
        if not (
            ((owners >= 0) & (owners < shape[0])).all() and ((columns >= -1) & (columns < shape[1])).all()
        ):
            raise OptionError(f"judgements must be of queries and gallery rows within {shape}")
        chosen = (gains > 0) & ((columns < 0) | (columns != self.query_rows[owners]))
        owners, columns, gains = owners[chosen], columns[chosen], gains[chosen]
        codes = owners * shape[1] + columns
        held = np.flatnonzero(columns >= 0)
        self._codes, first = np.unique(codes[held], return_index=True)
        first = held[first]
        self._gains = gains[first]
        lost = np.flatnonzero(columns < 0)
        whose = np.concatenate([owners[first], owners[lost]])
        all_gains = np.concatenate([gains[first], gains[lost]])
        self.totals: Integers = np.bincount(whose, minlength=shape[0]).astype(np.int64)
        self.ideal: Values | None = all_gains[np.lexsort((-all_gains, whose))]

    def pairs(self, rows: slice) -> Pairs:
        """See ``Relevance``."""
        start, stop, _ = rows.indices(self.shape[0])
        width = self.shape[1]
        low, high = np.searchsorted(self._codes, [start * width, stop * width])
        owners, columns = np.divmod(self._codes[low:high], max(width, 1))
        return owners - start, columns, self._gains[low:high]

    def gains_of(self, owners: Integers, columns: Integers) -> Values:
        """See ``Relevance``."""
        if not len(self._codes):
            return np.zeros(len(owners))
        wanted = owners * self.shape[1] + columns
        places = np.minimum(np.searchsorted(self._codes, wanted), len(self._codes) - 1)
        return np.where(self._codes[places] == wanted, self._gains[places], 0.0)


def offsets(counts: Integers) -> Integers:
    """(q + 1,) where each query's part starts, and the end of the last."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def checked_rows(query_rows: Integers | None, queries: int, gallery: int) -> Integers:
    """``query_rows``, or as many -1 for None.

    Raises:
        OptionError: they are not a gallery row or -1 for each query.
    """
    if query_rows is None:
        return np.full(queries, -1, np.int64)
    if query_rows.shape != (queries,) or not ((query_rows >= -1) & (query_rows < gallery)).all():
        raise OptionError(f"query_rows must be {queries} gallery rows below {gallery}, or -1")
    return query_rows
