"""Relevance: which gallery assets are relevant to which query, and with what gain."""

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
    """Relevance of n gallery rows to q queries. A query is never relevant to itself."""

    self_rows: Integers
    """(q,) the gallery row of the query itself, -1 if it is not in the gallery."""

    totals: Integers
    """(q,) the number of relevant assets of each query, including those that are not in the gallery."""

    ideal: Values | None
    """(totals.sum(),) the gains of all relevant assets, query by query, descending; None when all are 1."""

    @property
    def shape(self) -> tuple[int, int]:
        """(q, n)."""
        ...

    def pairs(self, rows: slice) -> Pairs:
        """Return all relevant pairs of these queries, numbered from the slice's start; by query, then by row."""
        ...

    def gains_of(self, query_numbers: Integers, columns: Integers) -> Values:
        """Return the gain of each pair of query and gallery row, (m,); 0 if it is not relevant."""
        ...


class SameLabel:
    """Relevance by label: assets with the query's label. A label is an item number or the code of a column's value.

    Attributes:
        self_rows: see ``Relevance``.
        totals: see ``Relevance``.
        ideal: None, all gains are 1.
    """

    ideal: Values | None = None

    def __init__(
        self, query_labels: Integers, gallery_labels: Integers, self_rows: Integers | None = None
    ) -> None:
        """Store the labels, (q,) and (n,) int64; a negative label is relevant to nothing.

        Raises:
            OptionError: ``self_rows`` are not q rows of the gallery or -1.
        """
        self._query_labels, self._gallery_labels = query_labels, gallery_labels
        self.self_rows = check_self_rows(self_rows, len(query_labels), len(gallery_labels))
        # The gallery rows with a query's label are order[low:high], ascending.
        self._order = np.argsort(gallery_labels, kind="stable")
        ordered = gallery_labels[self._order]
        self._low, high = (np.searchsorted(ordered, query_labels, side) for side in ("left", "right"))
        self._counts = np.where(query_labels >= 0, high - self._low, 0)
        self_relevant = (self.self_rows >= 0) & (query_labels >= 0)
        self_relevant[self_relevant] = (
            gallery_labels[self.self_rows[self_relevant]] == query_labels[self_relevant]
        )
        self.totals: Integers = self._counts - self_relevant

    @property
    def shape(self) -> tuple[int, int]:
        """See ``Relevance``."""
        return len(self._query_labels), len(self._gallery_labels)

    def pairs(self, rows: slice) -> Pairs:
        """See ``Relevance``."""
        low, counts = self._low[rows], self._counts[rows]
        query_numbers = np.repeat(np.arange(len(counts)), counts)
        within = np.arange(len(query_numbers)) - offsets(counts)[query_numbers]
        columns = self._order[low[query_numbers] + within]
        others = columns != self.self_rows[rows][query_numbers]
        return query_numbers[others], columns[others], None

    def gains_of(self, query_numbers: Integers, columns: Integers) -> Values:
        """See ``Relevance``."""
        labels = self._query_labels[query_numbers]
        same = (self._gallery_labels[columns] == labels) & (labels >= 0)
        gains: Values = (same & (columns != self.self_rows[query_numbers])).astype(np.float64)
        return gains


@dataclass(frozen=True, slots=True)
class RelevancePairs:
    """Relevance judgements as three arrays of the same length.

    Attributes:
        query_numbers: (m,) int64 query numbers.
        columns: (m,) int64 gallery rows; -1 for an asset that is not in the gallery, which is never retrieved.
        gains: (m,) float64; a pair is relevant if its gain is above 0.
    """

    query_numbers: Integers
    columns: Integers
    gains: Values


class Qrels:
    """Relevance from human judgements, with gains.

    Attributes:
        self_rows: see ``Relevance``.
        totals: see ``Relevance``.
        ideal: see ``Relevance``.
    """

    def __init__(
        self, judged: RelevancePairs, shape: tuple[int, int], self_rows: Integers | None = None
    ) -> None:
        """Store judgements of ``shape`` (q, n); of a pair that was judged twice, the first counts.

        Raises:
            OptionError: a query or row is outside ``shape``.
        """
        self.shape = shape
        self.self_rows = check_self_rows(self_rows, *shape)
        query_numbers, columns, gains = judged.query_numbers, judged.columns, judged.gains
        if not (
            ((query_numbers >= 0) & (query_numbers < shape[0])).all()
            and ((columns >= -1) & (columns < shape[1])).all()
        ):
            raise OptionError(f"judgements must refer to queries and gallery rows within {shape}")
        valid = (gains > 0) & ((columns < 0) | (columns != self.self_rows[query_numbers]))
        query_numbers, columns, gains = query_numbers[valid], columns[valid], gains[valid]
        codes = query_numbers * shape[1] + columns
        in_gallery = np.flatnonzero(columns >= 0)
        self._codes, first = np.unique(codes[in_gallery], return_index=True)
        first = in_gallery[first]
        self._gains = gains[first]
        not_in_gallery = np.flatnonzero(columns < 0)
        all_numbers = np.concatenate([query_numbers[first], query_numbers[not_in_gallery]])
        all_gains = np.concatenate([gains[first], gains[not_in_gallery]])
        self.totals: Integers = np.bincount(all_numbers, minlength=shape[0]).astype(np.int64)
        self.ideal: Values | None = all_gains[np.lexsort((-all_gains, all_numbers))]

    def pairs(self, rows: slice) -> Pairs:
        """See ``Relevance``."""
        start, stop, _ = rows.indices(self.shape[0])
        width = self.shape[1]
        low, high = np.searchsorted(self._codes, [start * width, stop * width])
        query_numbers, columns = np.divmod(self._codes[low:high], max(width, 1))
        return query_numbers - start, columns, self._gains[low:high]

    def gains_of(self, query_numbers: Integers, columns: Integers) -> Values:
        """See ``Relevance``."""
        if not len(self._codes):
            return np.zeros(len(query_numbers))
        codes = query_numbers * self.shape[1] + columns
        positions = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        return np.where(self._codes[positions] == codes, self._gains[positions], 0.0)


def offsets(counts: Integers) -> Integers:
    """Return the start of each query's part and the end of the last, (q + 1,) int64."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def check_self_rows(self_rows: Integers | None, queries: int, gallery: int) -> Integers:
    """Return ``self_rows``; -1 for every query when None.

    Raises:
        OptionError: they are not one gallery row, or -1, for each query.
    """
    if self_rows is None:
        return np.full(queries, -1, np.int64)
    if self_rows.shape != (queries,) or not ((self_rows >= -1) & (self_rows < gallery)).all():
        raise OptionError(f"self_rows must be {queries} gallery rows below {gallery}, or -1")
    return self_rows
