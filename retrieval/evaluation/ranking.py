"""Ranks of each query's relevant assets, from exact search or from the results of an index."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import OptionError
from retrieval.evaluation.metrics import RelevantRanks, Values
from retrieval.evaluation.relevance import Relevance, offsets
from retrieval.types import Integers, Matrix

SCORES_PER_CHUNK = 2**23
"""Scores per chunk: 32 MiB of float32, plus about five times that while they are ranked."""

COUNT_UP_TO = 32
"""Relevant assets per query up to which counting the better-ranked assets is faster than sorting the gallery."""


def relevant_ranks(
    queries: Matrix, gallery: Matrix, relevance: Relevance, *, scores_per_chunk: int = SCORES_PER_CHUNK
) -> RelevantRanks:
    """Return the exact ranks of all relevant assets, by inner product.

    The rank of an asset is 1, plus the number of assets that score higher, plus the number that score the same and come
    before it. With the gallery in ascending order of ids, ties are broken by id. Gallery rows with the same bits always
    tie. A matrix product alone does not guarantee this, because BLAS sums the rows at the edge of a block in another
    order. A query that is itself in the gallery is left out of its own ranking.

    Args:
        queries: (q, d) float32, finite.
        gallery: (n, d) float32, finite, in ascending order of ids.
        relevance: of shape (q, n).
        scores_per_chunk: bounds the memory, whatever q and n, apart from the arguments and the returned arrays.

    Raises:
        OptionError: shapes do not match, or vectors are not finite.
    """
    queries, gallery = (np.ascontiguousarray(rows, dtype=np.float32) for rows in (queries, gallery))
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        shapes = f"{queries.shape} and {gallery.shape}"
        raise OptionError(f"expected (q, d) queries and an (n, d) gallery, not {shapes}")
    if not (np.isfinite(queries).all() and np.isfinite(gallery).all()):
        raise OptionError("vectors to rank must be finite: some values are NaN or infinite")
    _check_shape(relevance, (len(queries), len(gallery)))

    repeats, originals = _repeated_rows(gallery)
    chunk = max(1, scores_per_chunk // max(1, len(gallery)))
    ranks: list[Integers] = [np.empty(0, np.int64)]
    gains: list[Values] = [np.empty(0, np.float64)]
    counts = np.zeros(len(queries), np.int64)
    for start in range(0, len(queries), chunk):
        rows = slice(start, start + chunk)
        scores = queries[rows] @ gallery.T
        scores[:, repeats] = scores[:, originals]
        self_rows = relevance.self_rows[rows]
        excluded = np.flatnonzero(self_rows >= 0)
        scores[excluded, self_rows[excluded]] = -np.inf
        query_numbers, columns, chunk_gains = relevance.pairs(rows)
        counts[rows] = np.bincount(query_numbers, minlength=len(scores))
        few = counts[rows].max() <= COUNT_UP_TO
        chunk_ranks = (_ranks_by_counting if few else _ranks_by_sorting)(scores, query_numbers, columns)
        order = np.lexsort((chunk_ranks, query_numbers))
        ranks.append(chunk_ranks[order])
        if chunk_gains is not None:
            gains.append(chunk_gains[order])
    all_gains = None if relevance.ideal is None else np.concatenate(gains)
    return RelevantRanks(np.concatenate(ranks), offsets(counts), relevance.totals, all_gains, relevance.ideal)


def ranks_from_results(rows: Integers, relevance: Relevance) -> RelevantRanks:
    """Return the ranks of the relevant assets among the first k results of an index.

    Measures with a cutoff above k, or without one, see only these k: assets further down count as not retrieved.

    Args:
        rows: (q, k) int64 gallery rows, best first; -1 where the index returned fewer. If a query found itself, the
            results after it move up by one.
        relevance: of shape (q, n).

    Raises:
        OptionError: shapes do not match, a row is outside the gallery, or a row occurs twice for a query.
    """
    if rows.ndim != 2:
        raise OptionError(f"expected (q, k) rows, not {rows.shape}")
    size = relevance.shape[1]
    if not ((rows >= -1) & (rows < size)).all():
        raise OptionError(f"rows must be below {size}, the size of the gallery, or -1")
    ordered = np.sort(rows, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        raise OptionError("a gallery row occurs twice in the results of one query")
    _check_shape(relevance, (len(rows), size))

    counted = (rows >= 0) & (rows != relevance.self_rows[:, None])
    gains = np.zeros(rows.shape)
    gains[counted] = relevance.gains_of(np.nonzero(counted)[0], rows[counted])
    is_relevant = gains > 0
    ranks = counted.cumsum(axis=1, dtype=np.int64)[is_relevant]
    relevant_gains = None if relevance.ideal is None else gains[is_relevant]
    return RelevantRanks(
        ranks, offsets(is_relevant.sum(axis=1)), relevance.totals, relevant_gains, relevance.ideal
    )


def _ranks_by_counting(scores: Matrix, query_numbers: Integers, columns: Integers) -> Integers:
    """Return the rank of each pair, by counting better-ranked assets: two passes for the i-th pair of all queries."""
    ranks = np.empty(len(query_numbers), np.int64)
    counts = np.bincount(query_numbers, minlength=len(scores))
    starts = offsets(counts)
    # 64 columns are counted as one word. The unused columns of the last word stay False.
    mask = np.zeros((len(scores), -(-scores.shape[1] // 64) * 64), np.bool_)
    for nth in range(counts.max()):
        rows = np.flatnonzero(counts > nth)
        pairs = starts[rows] + nth
        block = scores if len(rows) == len(scores) else scores[rows]
        pair_scores, column = scores[rows, columns[pairs]][:, None], columns[pairs][:, None]
        flags = mask[: len(rows)]
        compared = flags[:, : block.shape[1]]
        np.greater(block, pair_scores, out=compared)
        ranks[pairs] = 1 + _true_by_row(flags)
        np.equal(block, pair_scores, out=compared)
        tied = np.flatnonzero(_true_by_row(flags) > 1)
        ahead = (block[tied] == pair_scores[tied]) & (np.arange(block.shape[1]) < column[tied])
        ranks[pairs[tied]] += ahead.sum(axis=1)
    return ranks


def _true_by_row(mask: NDArray[np.bool_]) -> Integers:
    """Return the number of true columns per row, (rows,), of a multiple of 64 columns; much faster than NumPy's sum."""
    words = np.packbits(mask).view(np.uint64).reshape(len(mask), -1)
    counts: Integers = np.bitwise_count(words).sum(axis=1, dtype=np.int64)
    return counts


def _ranks_by_sorting(scores: Matrix, query_numbers: Integers, columns: Integers) -> Integers:
    """Return the rank of each pair, by sorting integer keys: the descending score, then the column.

    The bits of positive floats are in the order of the floats. Inverting all bits of negative floats, and the sign bit
    of the others, extends this to every float.
    """
    bits = (0.0 - scores).view(np.uint32)  # 0 - s: descending, and no negative zero
    keys = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.arange(scores.shape[1], dtype=np.uint64) << np.uint64(1)
    keys[query_numbers, columns] |= np.uint64(1)  # marks relevant pairs without changing the order
    keys.sort(axis=1)
    key_rows, positions = np.nonzero(keys & np.uint64(1))
    key_columns = (keys[key_rows, positions] & np.uint64(2**32 - 1)) >> np.uint64(1)
    ranks: Integers = (positions + 1)[np.lexsort((key_columns, key_rows))]
    return ranks


def _repeated_rows(gallery: Matrix) -> tuple[Integers, Integers]:
    """Return the rows whose bits occurred before, and for each the first row with the same bits."""
    if 0 in gallery.shape:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    # Few rows share their first number by chance, and sorting one number per row is cheap.
    _, group, sizes = np.unique(gallery[:, 0], return_inverse=True, return_counts=True)
    candidates = np.flatnonzero(sizes[group] > 1)
    whole = np.dtype((np.void, gallery.shape[1] * gallery.itemsize))
    rows = gallery[candidates].view(whole).ravel()
    _, first, same = np.unique(rows, return_index=True, return_inverse=True)
    repeats = np.flatnonzero(first[same] != np.arange(len(candidates)))
    return candidates[repeats], candidates[first[same[repeats]]]


def _check_shape(relevance: Relevance, shape: tuple[int, int]) -> None:
    if relevance.shape != shape:
        raise OptionError(
            f"expected a label for each of {shape[0]} queries and {shape[1]} assets, not {relevance.shape}"
        )
