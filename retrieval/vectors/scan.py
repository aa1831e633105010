"""Comparing every vector: a matrix product in blocks, of which only the best scores are kept.

FAISS takes the same way only from some hundred queries on (``distance_compute_blas_threshold``, which is one
setting for the whole process), and its scores of equal vectors need not be equal. Where there is very much to
compare, eight bits say first which pairs are worth it (``rounded.py``); the answers are the same.
"""

from __future__ import annotations

from contextlib import closing

import numpy as np

from retrieval.arrays.lazy import Chosen, MatrixLike, slices
from retrieval.types import Integers, Matrix
from retrieval.vectors.base import empty
from retrieval.vectors.int8_scan import VECTORS, rounded
from retrieval.vectors.top_k import TopK, scored

QUERIES_AT_ONCE = 1024
SCORES_AT_ONCE = 2**22
"""16 MiB. In a fourth of that they would stay in the cache until they are looked at, but then each product is so short
that what else the machine does holds it up: a thousand queries took from a twentieth less to a tenth more."""

WIDEST = 2**13
"""Vectors in a block, at the most: made float32 they are 12 to 16 MiB themselves."""

GATHERED = 1024
"""Vectors taken out at once to be compared by themselves: what stays in the cache."""

MANY = 2**35
"""Multiplications from which on eight bits say first which pairs matter: that saves a fourth of a second there, and
loading OpenVINO takes half of one, once."""

ENOUGH = 400
"""Queries at once from which on eight bits take less time: vectors are rounded anew for each batch."""

FIRST = 2048
"""Vectors compared in float32 beforehand: what the best of them score is what others have to reach."""

DENSE = 1 / 128
"""Share of the pairs from which on a product of all takes less than scoring each of them by itself."""

BEFORE = 8
"""Times ``k`` pairs a query that may be scored beyond that share, before it is known well what has to be reached."""


def best(
    queries: Matrix, vectors: MatrixLike, k: int, rows: Integers | None = None
) -> tuple[Matrix, Integers]:
    """The ``k`` largest inner products of each query, ties by row.

    Args:
        queries: (q, d) float32.
        vectors: (n, d) float32, of about one length: what rounding may do is judged by the first of them.
        k: at least 1.
        rows: (m,) int64 ascending, those to compare; all when None.

    Returns:
        (q, k') float32 scores, descending, and (q, k') int64 rows, with k' = min(k, m). Equal vectors have
        equal scores: what is kept is scored anew, each pair by the same sum.
    """
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    compared = vectors if rows is None else Chosen(vectors, rows)
    k = min(k, len(compared))
    if not k or not len(queries):
        return empty(queries, k)
    many = len(queries) * queries.shape[1] * len(compared) >= MANY
    answers = [_best(queries[part], compared, k, many) for part in slices(len(queries), QUERIES_AT_ONCE)]
    scores, places = (np.concatenate(each) for each in zip(*answers, strict=True))
    return scores, places if rows is None else rows[places]


def _best(queries: Matrix, vectors: MatrixLike, k: int, many: bool) -> tuple[Matrix, Integers]:
    count = len(vectors)
    width = max(min(SCORES_AT_ONCE // len(queries), WIDEST), 4 * k)
    kept = TopK(queries, vectors, k)
    done = 0
    if many and len(queries) >= ENOUGH and 4 * k <= FIRST < count - VECTORS:
        kept.compare(vectors[:FIRST], 0)
        done = _reaching(queries, kept, vectors)
    for start in range(done, count, width):
        kept.compare(vectors[start : start + width], start)
    return kept.ranked()


def _reaching(queries: Matrix, kept: TopK, vectors: MatrixLike) -> int:
    """Compare vectors from the ``FIRST`` on by eight bits, as long as these leave few pairs; how far that went."""
    asking = rounded(queries, vectors[:VECTORS].mean(axis=0))
    if asking is None:
        return FIRST
    count = len(vectors)
    starts = [*range(FIRST, count - VECTORS, VECTORS), count - VECTORS]  # the last goes over some once more
    blocks = (vectors[start : start + VECTORS] for start in starts)
    done, so_far, before = FIRST, 0, min(BEFORE * kept.k, DENSE * count)
    with closing(asking.reaching(blocks, lambda: kept.least)) as reached:
        for start, (part, owners, places) in zip(starts, reached, strict=True):
            so_far += len(owners)
            if so_far > len(queries) * (before + DENSE * (done - FIRST)):
                break
            new = slice(None) if start == done else np.flatnonzero(places >= done - start)
            kept.pairs(part, owners[new], places[new], start)
            done = start + VECTORS
    return done


def few(queries: Matrix, vectors: MatrixLike, k: int, rows: Integers) -> tuple[Matrix, Integers]:
    """As ``best``, for few queries and few ``rows``: each pair by itself, in the thread that asks."""
    k = min(k, len(rows))
    scores = np.empty((len(queries), len(rows)), np.float32)
    for at in range(0, len(rows), GATHERED):
        part = slice(at, at + GATHERED)
        np.vecdot(vectors[rows[part]], queries[:, None], out=scores[:, part])
    found = empty(queries, k)
    for own, own_scores, own_rows in zip(scores, *found, strict=True):
        least = np.partition(own, len(own) - k)[len(own) - k]
        places = np.flatnonzero(own >= least)
        places = places[np.argsort(-own[places], kind="stable")[:k]]
        own_scores[:], own_rows[:] = own[places], rows[places]
    return found


def score(queries: Matrix, vectors: MatrixLike, rows: Integers) -> Matrix:
    """(q, k) inner products of each query with its own (q, k) ``rows``, equal for equal vectors."""
    owners = np.repeat(np.arange(len(queries)), rows.shape[1])
    return scored(queries, vectors, owners, rows.ravel()).reshape(rows.shape)
