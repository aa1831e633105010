"""At which ranks the relevant assets of each query come: exactly, or in what an index returned.

Every query has a label and so has every asset of the gallery; an asset is relevant to a query if their labels
are equal: the number of the item, or the code of a column's value. A negative label is a missing one:
relevant to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.errors import OptionError
from retrieval.metrics import RelevantRanks
from retrieval.types import Integers, Matrix

SCORES_A_CHUNK = 2**23
"""Scores held at a time: 32 MiB of float32, and some five times that beside them while they are ranked."""

COUNT_UP_TO = 32
"""Relevant assets a query up to which counting what is ahead of each beats sorting the gallery."""


def relevant_ranks(
    queries: Matrix,
    gallery: Matrix,
    query_labels: Integers,
    gallery_labels: Integers,
    *,
    query_rows: Integers | None = None,
    scores_a_chunk: int = SCORES_A_CHUNK,
) -> RelevantRanks:
    """The exact ranks of every relevant asset, by inner product.

    The rank of an asset is 1, plus the assets that score higher, plus those that score the same and stand
    before it: with the gallery in ascending order of ids, ties are broken by id. Gallery rows of the same
    bits always tie, which a matrix product alone does not promise (BLAS sums the rows at the edge of a block
    in another order).

    Args:
        queries: (q, d) float32, finite.
        gallery: (n, d) float32, finite, in ascending order of ids.
        query_labels: (q,) int64, negative where missing.
        gallery_labels: (n,) int64, negative where missing.
        query_rows: (q,) int64, the gallery row that is the query itself, which is left out of its ranking;
            -1 where the gallery does not hold it.
        scores_a_chunk: bounds memory; q and n do not, beyond the arrays handed in and what is returned.

    Raises:
        OptionError: shapes that do not fit together, or vectors that are not finite.
    """
    queries, gallery = (np.ascontiguousarray(rows, dtype=np.float32) for rows in (queries, gallery))
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        shapes = f"{queries.shape} and {gallery.shape}"
        raise OptionError(f"expected (q, d) queries and an (n, d) gallery, not {shapes}")
    if not (np.isfinite(queries).all() and np.isfinite(gallery).all()):
        raise OptionError("vectors to rank must be finite: there are NaN or infinite values among them")
    selves = _checked_selves(query_rows, len(queries), len(gallery))
    relevance = _Relevance.of(query_labels, gallery_labels)
    _check_lengths(relevance, len(queries), len(gallery))

    repeats, originals = _repeated_rows(gallery)
    chunk = max(1, scores_a_chunk // max(1, len(gallery)))
    ranks: list[Integers] = [np.empty(0, np.int64)]
    counts = np.zeros(len(queries), np.int64)
    for start in range(0, len(queries), chunk):
        rows = slice(start, start + chunk)
        scores = queries[rows] @ gallery.T
        scores[:, repeats] = scores[:, originals]
        excluded = np.flatnonzero(selves[rows] >= 0)
        scores[excluded, selves[rows][excluded]] = -np.inf
        owners, columns = relevance.pairs(rows, selves[rows])
        counts[rows] = np.bincount(owners, minlength=len(scores))
        few = counts[rows].max() <= COUNT_UP_TO
        ranks.append((_ranks_by_counting if few else _ranks_by_sorting)(scores, owners, columns))
    return RelevantRanks(np.concatenate(ranks), _offsets(counts), counts)


def ranks_from_results(
    rows: Integers,
    query_labels: Integers,
    gallery_labels: Integers,
    *,
    query_rows: Integers | None = None,
) -> RelevantRanks:
    """The ranks of the relevant assets among the first k that an index returned.

    Measures with a cutoff above k, and ``mrr`` and ``map``, see only these k: what is further down counts as
    not found.

    Args:
        rows: (q, k) int64 gallery rows, best first; -1 where the index returned fewer.
        query_labels: (q,) int64, negative where missing.
        gallery_labels: (n,) int64, negative where missing.
        query_rows: as in :func:`relevant_ranks`: where a query found itself, what follows moves up by one.

    Raises:
        OptionError: shapes that do not fit together, a row outside the gallery, or a row twice for a query.
    """
    if rows.ndim != 2:
        raise OptionError(f"expected (q, k) rows, not {rows.shape}")
    if not ((rows >= -1) & (rows < len(gallery_labels))).all():
        raise OptionError(f"rows must be below {len(gallery_labels)}, the size of the gallery, or -1")
    ordered = np.sort(rows, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        raise OptionError("a gallery row came twice among the results of one query")
    selves = _checked_selves(query_rows, len(rows), len(gallery_labels))
    relevance = _Relevance.of(query_labels, gallery_labels)
    _check_lengths(relevance, len(rows), len(gallery_labels))

    counted = (rows >= 0) & (rows != selves[:, None])
    found = np.zeros(rows.shape, np.bool_)
    found[counted] = gallery_labels[rows[counted]] == np.repeat(query_labels, counted.sum(axis=1))
    found &= query_labels[:, None] >= 0
    ranks = counted.cumsum(axis=1, dtype=np.int64)[found]
    return RelevantRanks(ranks, _offsets(found.sum(axis=1)), relevance.totals(selves))


@dataclass(frozen=True, slots=True)
class _Relevance:
    """Which gallery columns are relevant to each query: ``order[low:low + counts]``, ascending."""

    query_labels: Integers
    gallery_labels: Integers
    order: Integers
    low: Integers
    counts: Integers

    @classmethod
    def of(cls, query_labels: Integers, gallery_labels: Integers) -> _Relevance:
        order = np.argsort(gallery_labels, kind="stable")
        ordered = gallery_labels[order]
        low, high = (np.searchsorted(ordered, query_labels, side) for side in ("left", "right"))
        return cls(query_labels, gallery_labels, order, low, np.where(query_labels >= 0, high - low, 0))

    def totals(self, selves: Integers) -> Integers:
        """(q,) relevant assets of each query, itself left out."""
        itself = (selves >= 0) & (self.query_labels >= 0)
        itself[itself] = self.gallery_labels[selves[itself]] == self.query_labels[itself]
        return self.counts - itself

    def pairs(self, rows: slice, selves: Integers) -> tuple[Integers, Integers]:
        """Every (query of the chunk, relevant column), by query and then by column."""
        low, counts = self.low[rows], self.counts[rows]
        owners = np.repeat(np.arange(len(counts)), counts)
        within = np.arange(len(owners)) - _offsets(counts)[owners]
        columns = self.order[low[owners] + within]
        others = columns != selves[owners]
        return owners[others], columns[others]


def _ranks_by_counting(scores: Matrix, owners: Integers, columns: Integers) -> Integers:
    """Ranks from what is ahead of each relevant asset: one sweep of the scores for every query's i-th."""
    ranks = np.empty(len(owners), np.int64)
    counts = np.bincount(owners, minlength=len(scores))
    starts = _offsets(counts)
    for nth in range(counts.max()):
        rows = np.flatnonzero(counts > nth)
        pairs = starts[rows] + nth
        block = scores if len(rows) == len(scores) else scores[rows]
        own, column = scores[rows, columns[pairs]][:, None], columns[pairs][:, None]
        ranks[pairs] = 1 + (block > own).sum(axis=1, dtype=np.int32)
        tied = np.flatnonzero((block == own).sum(axis=1, dtype=np.int32) > 1)
        ahead = (block[tied] == own[tied]) & (np.arange(block.shape[1]) < column[tied])
        ranks[pairs[tied]] += ahead.sum(axis=1)
    return ranks[np.lexsort((ranks, owners))]


def _ranks_by_sorting(scores: Matrix, owners: Integers, columns: Integers) -> Integers:
    """Ranks from sorting integer keys: the score from the top, then the column, then whether it is relevant.

    The bits of positive floats order as they do; turning all bits of the negative ones, and the sign of the
    others, makes that so for every float.
    """
    bits = (0.0 - scores).view(np.uint32)  # 0 - s: descending, and no negative zero
    keys = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.arange(scores.shape[1], dtype=np.uint64) << np.uint64(1)
    keys[owners, columns] |= np.uint64(1)
    keys.sort(axis=1)
    return np.nonzero(keys & np.uint64(1))[1] + 1


def _repeated_rows(gallery: Matrix) -> tuple[Integers, Integers]:
    """The rows whose bits came before, and for each the first row that has them."""
    if 0 in gallery.shape:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    # Few rows share their first number by chance, and sorting one number a row is cheap.
    _, group, sizes = np.unique(gallery[:, 0], return_inverse=True, return_counts=True)
    candidates = np.flatnonzero(sizes[group] > 1)
    whole = np.dtype((np.void, gallery.shape[1] * gallery.itemsize))
    rows = gallery[candidates].view(whole).ravel()
    _, first, same = np.unique(rows, return_index=True, return_inverse=True)
    repeats = np.flatnonzero(first[same] != np.arange(len(candidates)))
    return candidates[repeats], candidates[first[same[repeats]]]


def _offsets(counts: Integers) -> Integers:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _checked_selves(query_rows: Integers | None, queries: int, gallery: int) -> Integers:
    if query_rows is None:
        return np.full(queries, -1, np.int64)
    if query_rows.shape != (queries,) or not ((query_rows >= -1) & (query_rows < gallery)).all():
        raise OptionError(f"query_rows must be {queries} gallery rows below {gallery}, or -1")
    return query_rows


def _check_lengths(relevance: _Relevance, queries: int, gallery: int) -> None:
    came = (len(relevance.query_labels), len(relevance.gallery_labels))
    if came != (queries, gallery):
        raise OptionError(f"expected a label for each of {queries} queries and {gallery} assets, not {came}")
