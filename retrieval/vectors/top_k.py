"""The best of many scores that come a block at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retrieval.arrays.lazy import MatrixLike
from retrieval.types import Integers, Matrix

PIECE = 64
"""Scores of which the largest tells, before anything else is known, what is worth keeping."""

SCORED_AT_ONCE = 2**19
"""Numbers gathered at once to score pairs: what stays in the cache until they are multiplied."""

ROUNDING = 4e-6
"""By which a product in float32 may be off, as a share of the vectors' lengths."""


def scored(queries: Matrix, vectors: MatrixLike, owners: Integers, rows: Integers) -> Matrix:
    """(m,) inner products of pairs.

    A matrix product sums in another order at the edge of a block; here every pair is summed alike.
    """
    scores = np.empty(len(rows), np.float32)
    step = max(1, SCORED_AT_ONCE // queries.shape[1])
    for at in range(0, len(rows), step):
        block = slice(at, at + step)
        np.vecdot(vectors[rows[block]], queries[owners[block]], out=scores[block])
    return scores


class TopK:
    """The pairs that may be among the best, in no order, and the least score worth keeping."""

    def __init__(self, queries: Matrix, vectors: MatrixLike, k: int) -> None:
        """Keep none yet of (q, d) ``queries`` and (n, d) ``vectors``."""
        self.queries = queries
        self.vectors = vectors
        self.k = k
        self.owners = np.empty(0, np.int64)
        self.places = np.empty(0, np.int64)
        self.scores = np.empty(0, np.float32)
        self.waiting: list[tuple[Integers, Integers, Matrix]] = []
        self.held = 0
        lengths = np.linalg.norm(queries, axis=1)
        self.margin = (ROUNDING * lengths).astype(np.float32)
        self.lengths = np.where(lengths > 0, lengths, 1).astype(np.float32)
        self.least = np.full(len(queries), -np.inf, np.float32)
        self._across = np.ascontiguousarray(queries.T)
        self._products, self._enough = np.empty(0, np.float32), np.empty(0, np.bool_)

    def compare(self, block: Matrix, start: int) -> None:
        """Keep what is good enough of (n, d) vectors, which stand from place ``start`` on, and all queries."""
        size = len(block) * len(self.queries)
        if size > len(self._products):
            # Once for all blocks: memory that is new costs as much as the comparison.
            self._products, self._enough = np.empty(size, np.float32), np.empty(size, np.bool_)
        scores = self._products[:size].reshape(len(block), -1)
        # This way round: the other takes a fifth longer for a hundred queries, and no less for more.
        np.matmul(block, self._across, out=scores)
        if not self.held:
            # As many for each query: of the product it is a small share, also where a single one asks.
            judged = block[: PIECE * len(self.queries)]
            self.margin *= np.sqrt(np.vecdot(judged, judged).max())
            self.least = self._first(scores) - self.margin
        enough = self._enough[:size]
        np.greater_equal(scores, self.least, out=enough.reshape(scores.shape))
        good = _places(enough)
        places, owners = np.divmod(good, scores.shape[1])
        self._add(owners, places + start, scores.ravel()[good])

    def pairs(self, block: Matrix, owners: Integers, places: Integers, start: int) -> None:
        """Keep what is good enough of (m,) pairs of queries and places in a block of vectors."""
        scores = scored(self.queries, block, owners, places)
        good = np.flatnonzero(scores >= self.least[owners])
        self._add(owners[good], places[good] + start, scores[good])

    def _add(self, owners: Integers, places: Integers, scores: Matrix) -> None:
        self.waiting.append((owners, places, scores))
        self.held += len(scores)
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
        apart = 3 * float(np.abs(scores).max(initial=0)) or 1
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
        self.scores = scored(self.queries, self.vectors, self.owners, self.places)
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
    whole = len(marked) // 8 * 8
    if whole < len(marked):
        return np.concatenate([_places(marked[:whole]), whole + np.flatnonzero(marked[whole:])])
    some = np.flatnonzero(marked.view(np.uint64) != 0)
    among, places = np.divmod(np.flatnonzero(marked.reshape(-1, 8)[some]), 8)
    found: Integers = 8 * some[among] + places
    return found
