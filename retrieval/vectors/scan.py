"""Exact scan of all vectors: a matrix product in blocks, of which only the best scores are kept.

FAISS does the same only from some hundred queries on (``distance_compute_blas_threshold``, a setting of the whole
process), and its scores of equal vectors need not be equal. For very large scans, 8-bit scores first select the pairs
that are worth scoring (``int8_scan``); the results are the same.
"""

from __future__ import annotations

from contextlib import closing

import numpy as np

from retrieval.arrays.lazy import MatrixLike, SelectedRows, slices
from retrieval.types import Integers, Matrix
from retrieval.vectors.base import empty_results
from retrieval.vectors.int8_scan import BLOCK_ROWS, quantize_queries
from retrieval.vectors.top_k import TopK, score_pairs

QUERIES_AT_ONCE = 1024
SCORES_AT_ONCE = 2**22
"""Scores of one block: 16 MiB. A fourth of that would stay in the cache until it is read, but each product would then
be so short that other work of the machine delays it: a thousand queries took from 5% less to 10% more time."""

MAX_BLOCK_ROWS = 2**13
"""Most vectors in a block: converted to float32 they take 12 to 16 MiB themselves."""

GATHERED_ROWS = 1024
"""Vectors gathered at once when few rows are compared: they stay in the cache."""

INT8_MIN_PRODUCTS = 2**35
"""Number of multiplications from which on 8-bit scores are used: they save a fourth of a second there, while loading
OpenVINO takes half a second, once."""

INT8_MIN_QUERIES = 400
"""Queries at once from which on 8-bit scores take less time: vectors are rounded anew for each batch."""

FIRST_ROWS = 2048
"""Vectors compared in float32 first: their best scores are the threshold for all others."""

DENSE_SHARE = 1 / 128
"""Share of pairs from which on a matrix product of all takes less time than scoring pairs one by one."""

EXTRA_PAIRS = 8
"""Pairs per query, in multiples of ``k``, that may be scored beyond that share while the threshold is still rough."""


def best(
    queries: Matrix, vectors: MatrixLike, k: int, rows: Integers | None = None
) -> tuple[Matrix, Integers]:
    """Return the ``k`` largest inner products of each query; ties are broken by row.

    Args:
        queries: (q, d) float32.
        vectors: (n, d) float32, of similar lengths: the rounding error is estimated from the first of them.
        k: at least 1.
        rows: (m,) int64 ascending, the rows to compare; all if None.

    Returns:
        (q, k') float32 scores, descending, and (q, k') int64 rows, with k' = min(k, m). Equal vectors have
        equal scores: kept pairs are scored again, each by the same summation.
    """
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    compared = vectors if rows is None else SelectedRows(vectors, rows)
    k = min(k, len(compared))
    if not k or not len(queries):
        return empty_results(queries, k)
    use_int8 = len(queries) * queries.shape[1] * len(compared) >= INT8_MIN_PRODUCTS
    results = [_best(queries[part], compared, k, use_int8) for part in slices(len(queries), QUERIES_AT_ONCE)]
    scores, positions = (np.concatenate(each) for each in zip(*results, strict=True))
    return scores, positions if rows is None else rows[positions]


def _best(queries: Matrix, vectors: MatrixLike, k: int, use_int8: bool) -> tuple[Matrix, Integers]:
    count = len(vectors)
    width = max(min(SCORES_AT_ONCE // len(queries), MAX_BLOCK_ROWS), 4 * k)
    top_k = TopK(queries, vectors, k)
    done = 0
    if use_int8 and len(queries) >= INT8_MIN_QUERIES and 4 * k <= FIRST_ROWS < count - BLOCK_ROWS:
        top_k.compare(vectors[:FIRST_ROWS], 0)
        done = _compare_int8(queries, top_k, vectors)
    for start in range(done, count, width):
        top_k.compare(vectors[start : start + width], start)
    return top_k.ranked()


def _compare_int8(queries: Matrix, top_k: TopK, vectors: MatrixLike) -> int:
    """Compare vectors after ``FIRST_ROWS`` by 8-bit scores while few pairs remain; return the number of rows done."""
    int8_scan = quantize_queries(queries, vectors[:BLOCK_ROWS].mean(axis=0))
    if int8_scan is None:
        return FIRST_ROWS
    count = len(vectors)
    # The last block overlaps the one before it.
    starts = [*range(FIRST_ROWS, count - BLOCK_ROWS, BLOCK_ROWS), count - BLOCK_ROWS]
    blocks = (vectors[start : start + BLOCK_ROWS] for start in starts)
    done, pair_count, extra = FIRST_ROWS, 0, min(EXTRA_PAIRS * top_k.k, DENSE_SHARE * count)
    with closing(int8_scan.candidates(blocks, lambda: top_k.threshold)) as candidates:
        for start, (block, query_rows, positions) in zip(starts, candidates, strict=True):
            pair_count += len(query_rows)
            if pair_count > len(queries) * (extra + DENSE_SHARE * (done - FIRST_ROWS)):
                break
            new = slice(None) if start == done else np.flatnonzero(positions >= done - start)
            top_k.add_pairs(block, query_rows[new], positions[new], start)
            done = start + BLOCK_ROWS
    return done


def best_by_pairs(queries: Matrix, vectors: MatrixLike, k: int, rows: Integers) -> tuple[Matrix, Integers]:
    """Like ``best``, for few queries and few ``rows``: scores each pair separately, in the calling thread."""
    k = min(k, len(rows))
    scores = np.empty((len(queries), len(rows)), np.float32)
    for at in range(0, len(rows), GATHERED_ROWS):
        part = slice(at, at + GATHERED_ROWS)
        np.vecdot(vectors[rows[part]], queries[:, None], out=scores[:, part])
    results = empty_results(queries, k)
    for query_scores, best_scores, best_rows in zip(scores, *results, strict=True):
        kth = np.partition(query_scores, len(query_scores) - k)[len(query_scores) - k]
        positions = np.flatnonzero(query_scores >= kth)
        positions = positions[np.argsort(-query_scores[positions], kind="stable")[:k]]
        best_scores[:], best_rows[:] = query_scores[positions], rows[positions]
    return results


def score_rows(queries: Matrix, vectors: MatrixLike, rows: Integers) -> Matrix:
    """Return (q, k) inner products of each query with its (q, k) ``rows``; equal vectors have equal scores."""
    query_rows = np.repeat(np.arange(len(queries)), rows.shape[1])
    return score_pairs(queries, vectors, query_rows, rows.ravel()).reshape(rows.shape)
