"""Comparing every vector: a matrix product in blocks, of which only the best scores are kept.

FAISS takes the same way only from some hundred queries on (``distance_compute_blas_threshold``, which is one
setting for the whole process), and its scores of equal vectors need not be equal.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.types import Integers, Matrix
from retrieval.vectors.base import empty

QUERIES_AT_ONCE = 1024
SCORES_AT_ONCE = 2**22
"""16 MiB. In a fourth of that they would stay in the cache until they are looked at, but then each product is so short
that what else the machine does holds it up: a thousand queries took from a twentieth less to a tenth more."""

WIDEST = 2**13
"""Vectors in a block, at the most: made float32 they are 12 to 16 MiB themselves."""

PIECE = 64
"""Scores of which the largest tells, before anything else is known, what is worth keeping."""

GATHERED = 1024
"""Vectors taken out at once to be compared by themselves: what stays in the cache."""

SCORED_AT_ONCE = 2**19
"""Numbers gathered at once to score pairs: what stays in the cache until they are multiplied."""

ROUNDING = 4e-6
"""By which a product in float32 may be off, as a share of the vectors' lengths."""


class Vectors(Protocol):
    """A (n, d) float32 array, or what gives rows of one."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Matrix:
        """The rows of a slice or of an array of numbers."""
        ...


def best(queries: Matrix, vectors: Vectors, k: int, rows: Integers | None = None) -> tuple[Matrix, Integers]:
    """The ``k`` largest inner products of each query, ties by row.

    Args:
        queries: (q, d) float32.
        vectors: (n, d), of about one length: what rounding may do is judged by the first of them.
        k: at least 1.
        rows: (m,) int64 ascending, those to compare; all when None.

    Returns:
        (q, k') float32 scores, descending, and (q, k') int64 rows, with k' = min(k, m). Equal vectors have
        equal scores: what is kept is scored anew, each pair by the same sum.
    """
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    count = len(vectors) if rows is None else len(rows)
    k = min(k, count)
    if not k or not len(queries):
        return empty(queries, k)
    answers = [
        _best(queries[at : at + QUERIES_AT_ONCE], vectors, k, rows)
        for at in range(0, len(queries), QUERIES_AT_ONCE)
    ]
    scores, found = zip(*answers, strict=True)
    return np.concatenate(scores), np.concatenate(found)


def _best(queries: Matrix, vectors: Vectors, k: int, rows: Integers | None) -> tuple[Matrix, Integers]:
    count = len(vectors) if rows is None else len(rows)
    width = -(-max(min(SCORES_AT_ONCE // len(queries), WIDEST), 4 * k) // PIECE) * PIECE
    products = np.empty(len(queries) * min(width, count), np.float32)
    kept = _Kept(queries, vectors, k, rows, len(products))
    across = np.ascontiguousarray(queries.T)
    for start in range(0, count, width):
        block = vectors[start : start + width] if rows is None else vectors[rows[start : start + width]]
        scores = products[: len(block) * len(queries)].reshape(len(block), len(queries))
        # This way round: the other takes a fifth longer for a hundred queries, and no less for more.
        np.matmul(block, across, out=scores)
        kept.add(scores, start)
    scores, places = kept.ranked()
    return scores, places if rows is None else rows[places]


def few(queries: Matrix, vectors: Vectors, k: int, rows: Integers) -> tuple[Matrix, Integers]:
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


def score(queries: Matrix, vectors: Vectors, rows: Integers) -> Matrix:
    """(q, k) inner products of each query with its own (q, k) ``rows``, equal for equal vectors."""
    owners = np.repeat(np.arange(len(queries)), rows.shape[1])
    return _score(queries, vectors, owners, rows.ravel()).reshape(rows.shape)


def _score(queries: Matrix, vectors: Vectors, owners: Integers, rows: Integers) -> Matrix:
    """(m,) inner products of pairs.

    A matrix product sums in another order at the edge of a block; here every pair is summed alike.
    """
    scores = np.empty(len(rows), np.float32)
    step = max(1, SCORED_AT_ONCE // queries.shape[1])
    for at in range(0, len(rows), step):
        block = slice(at, at + step)
        np.vecdot(vectors[rows[block]], queries[owners[block]], out=scores[block])
    return scores


class _Kept:
    """The pairs that may be among the best, in no order, and the least score worth keeping."""

    def __init__(self, queries: Matrix, vectors: Vectors, k: int, rows: Integers | None, most: int) -> None:
        """Keep none yet; of at most ``most`` scores at once."""
        # One for all blocks: memory that is new costs as much as the comparison.
        self.enough = np.empty(most, np.bool_)
        self.queries = queries
        self.vectors = vectors
        self.k = k
        self.rows = rows
        self.owners = np.empty(0, np.int64)
        self.places = np.empty(0, np.int64)
        self.scores = np.empty(0, np.float32)
        self.waiting: list[tuple[Integers, Integers, Matrix]] = []
        self.held = 0
        self.least: Matrix | None = None
        length = np.linalg.norm(vectors[:PIECE] if rows is None else vectors[rows[:PIECE]], axis=1).max()
        lengths = np.linalg.norm(queries, axis=1)
        self.margin = (ROUNDING * length * lengths).astype(np.float32)
        self.lengths = np.where(lengths > 0, lengths, 1).astype(np.float32)

    def add(self, scores: Matrix, start: int) -> None:
        """Keep what is good enough of the (n, q) scores of a block of vectors with all queries, C-contiguous."""
        if self.least is None:
            self.least = self._first(scores) - self.margin
        enough = self.enough[: scores.size]
        np.greater_equal(scores, self.least, out=enough.reshape(scores.shape))
        good = _places(enough)
        places, owners = np.divmod(good, scores.shape[1])
        self.waiting.append((owners, places + start, scores.ravel()[good]))
        self.held += len(good)
        if self.held > 2 * self.k * len(self.queries):
            self._prune()

    def _first(self, scores: Matrix) -> Matrix:
        """(q,) what each query's k-th best score is at the least, or the lowest where there are fewer.

        The k-th largest of the pieces' maxima is no larger than the k-th largest score, and sooner found.
        """
        pieces = len(scores) // PIECE
        if pieces >= 2 * self.k:
            scores = scores[: pieces * PIECE].reshape(pieces, PIECE, -1).max(axis=1)
        at = max(0, len(scores) - self.k)
        kth: Matrix = np.partition(scores.T, at, axis=1)[:, at]
        return kth

    def _prune(self) -> None:
        """Drop what is no longer among the best, save for what rounding might put there."""
        self._gather()
        # One key for both is sorted in a third of the time that sorting by one within the other takes.
        # By the queries' lengths, or the scores of a short one would vanish beside those of a long one.
        scores = self.scores / self.lengths[self.owners]
        apart = 3 * float(np.abs(scores).max(initial=0)) + 1
        kth = self._kth(np.argsort(apart * self.owners - scores))
        self.least = kth - self.margin
        self._keep(np.flatnonzero(self.scores >= self.least[self.owners]))
        # Where many vectors are equal, the first of them will do.
        if len(self.owners) > 1.5 * self.k * len(self.queries):
            self._exactly()

    def ranked(self) -> tuple[Matrix, Integers]:
        """(q, k) scores and places."""
        self._prune()
        self._exactly()
        shape = (len(self.queries), self.k)
        return self.scores.reshape(shape), self.places.reshape(shape)

    def _exactly(self) -> None:
        """Score the pairs alike and keep just ``k`` a query, in their order."""
        rows = self.places if self.rows is None else self.rows[self.places]
        self.scores = _score(self.queries, self.vectors, self.owners, rows)
        order = np.lexsort((self.places, -self.scores, self.owners))
        self.least = self._kth(order) - self.margin
        starts = np.searchsorted(self.owners[order], np.arange(len(self.queries)))
        self._keep(order[(starts[:, None] + np.arange(self.k)).ravel()])

    def _kth(self, order: Integers) -> Matrix:
        """(q,) the k-th best score of each query so far, or the least where there are fewer."""
        owners = self.owners[order]
        last = np.searchsorted(owners, np.arange(len(self.queries)), side="right") - 1
        kth = np.searchsorted(owners, np.arange(len(self.queries))) + self.k - 1
        worst: Matrix = self.scores[order[np.minimum(kth, last)]]
        return worst

    def _gather(self) -> None:
        owners, places, scores = zip(*self.waiting, strict=True) if self.waiting else ((), (), ())
        self.owners = np.concatenate([self.owners, *owners])
        self.places = np.concatenate([self.places, *places])
        self.scores = np.concatenate([self.scores, *scores])
        self.waiting.clear()

    def _keep(self, chosen: Integers) -> None:
        self.held = len(chosen)
        self.owners, self.places, self.scores = (
            self.owners[chosen],
            self.places[chosen],
            self.scores[chosen],
        )


def _places(marked: NDArray[np.bool_]) -> Integers:
    """Where few of many are true, ascending."""
    if len(marked) % 8:
        return np.flatnonzero(marked)
    some = np.flatnonzero(marked.view(np.uint64) != 0)
    among, places = np.divmod(np.flatnonzero(marked.reshape(-1, 8)[some]), 8)
    found: Integers = 8 * some[among] + places
    return found
