"""Keeping the best of many scores that come in blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retrieval.arrays.lazy import MatrixLike
from retrieval.types import Integers, Matrix

GROUP = 64
"""Vectors per group; the maxima of the first block's groups give the first threshold."""

SCORED_AT_ONCE = 2**19
"""Numbers gathered at once to score pairs: they stay in the cache until they are multiplied."""

ROUNDING = 4e-6
"""Largest rounding error of an inner product in float32, relative to the lengths of the vectors."""


def score_pairs(queries: Matrix, vectors: MatrixLike, query_rows: Integers, rows: Integers) -> Matrix:
    """Return (m,) inner products of pairs of a query and a vector.

    A matrix product sums in another order at the edge of a block; here all pairs are summed in the same order.
    """
    scores = np.empty(len(rows), np.float32)
    step = max(1, SCORED_AT_ONCE // queries.shape[1])
    for at in range(0, len(rows), step):
        block = slice(at, at + step)
        np.vecdot(vectors[rows[block]], queries[query_rows[block]], out=scores[block])
    return scores


class TopK:
    """The pairs that may be among the ``k`` best of each query, unordered, and the threshold for further pairs."""

    def __init__(self, queries: Matrix, vectors: MatrixLike, k: int) -> None:
        """Start without pairs, for (q, d) ``queries`` and (n, d) ``vectors``."""
        self.queries = queries
        self.vectors = vectors
        self.k = k
        self.query_rows = np.empty(0, np.int64)
        self.positions = np.empty(0, np.int64)
        self.scores = np.empty(0, np.float32)
        self.pending: list[tuple[Integers, Integers, Matrix]] = []
        self.count = 0
        lengths = np.linalg.norm(queries, axis=1)
        self.margin = (ROUNDING * lengths).astype(np.float32)
        self.lengths = np.where(lengths > 0, lengths, 1).astype(np.float32)
        self.threshold = np.full(len(queries), -np.inf, np.float32)
        self._queries_by_column = np.ascontiguousarray(queries.T)
        self._products, self._passing = np.empty(0, np.float32), np.empty(0, np.bool_)

    def compare(self, block: Matrix, start: int) -> None:
        """Compare (n, d) vectors, at positions from ``start`` on, with all queries; keep pairs above the threshold."""
        size = len(block) * len(self.queries)
        if size > len(self._products):
            # Allocated once for all blocks: new memory costs as much as the comparison.
            self._products, self._passing = np.empty(size, np.float32), np.empty(size, np.bool_)
        scores = self._products[:size].reshape(len(block), -1)
        # In this order: the other takes a fifth longer for a hundred queries, and no less for more.
        np.matmul(block, self._queries_by_column, out=scores)
        if not self.count:
            # In proportion to the queries: so it costs a small share of the product, also for a single query.
            sample = block[: GROUP * len(self.queries)]
            self.margin *= np.sqrt(np.vecdot(sample, sample).max())
            self.threshold = self._first_threshold(scores) - self.margin
        passing = self._passing[:size]
        np.greater_equal(scores, self.threshold, out=passing.reshape(scores.shape))
        kept = _true_positions(passing)
        positions, query_rows = np.divmod(kept, scores.shape[1])
        self._add(query_rows, positions + start, scores.ravel()[kept])

    def add_pairs(self, block: Matrix, query_rows: Integers, positions: Integers, start: int) -> None:
        """Score (m,) pairs of queries and positions in a block of vectors; keep those above the threshold."""
        scores = score_pairs(self.queries, block, query_rows, positions)
        kept = np.flatnonzero(scores >= self.threshold[query_rows])
        self._add(query_rows[kept], positions[kept] + start, scores[kept])

    def _add(self, query_rows: Integers, positions: Integers, scores: Matrix) -> None:
        self.pending.append((query_rows, positions, scores))
        self.count += len(scores)
        if self.count > 2 * self.k * len(self.queries):
            self._prune()

    def _first_threshold(self, scores: Matrix) -> Matrix:
        """Return (q,) a lower bound of each query's k-th best score; the lowest score if there are fewer than k.

        The k-th largest of the groups' maxima is at most the k-th largest score, and is found faster.
        """
        groups = len(scores) // GROUP
        if groups >= 2 * self.k:
            scores = scores[: groups * GROUP].reshape(groups, GROUP, -1).max(axis=1)
        at = max(0, len(scores) - self.k)
        kth: Matrix = np.partition(scores.T, at, axis=1)[:, at]
        return kth

    def _prune(self) -> None:
        """Drop pairs that cannot be among the best, even with the rounding error."""
        self._gather()
        # Sorting by one combined key takes a third of the time of sorting by one key within the other.
        # Scores are divided by the query lengths: scores of a short query would vanish beside those of a long one.
        scores = self.scores / self.lengths[self.query_rows]
        spacing = 3 * float(np.abs(scores).max(initial=0)) or 1
        kth = self._kth(np.argsort(spacing * self.query_rows - scores))
        self.threshold = kth - self.margin
        self._keep(np.flatnonzero(self.scores >= self.threshold[self.query_rows]))
        # Of many equal vectors, only the first ones are needed.
        if len(self.query_rows) > 1.5 * self.k * len(self.queries):
            self._keep_exact()

    def ranked(self) -> tuple[Matrix, Integers]:
        """Return (q, k) scores and positions, best first."""
        self._prune()
        self._keep_exact()
        shape = (len(self.queries), self.k)
        return self.scores.reshape(shape), self.positions.reshape(shape)

    def _keep_exact(self) -> None:
        """Score all pairs in the same way and keep exactly ``k`` per query, in order."""
        self.scores = score_pairs(self.queries, self.vectors, self.query_rows, self.positions)
        order = np.lexsort((self.positions, -self.scores, self.query_rows))
        self.threshold = self._kth(order) - self.margin
        starts = np.searchsorted(self.query_rows[order], np.arange(len(self.queries)))
        self._keep(order[(starts[:, None] + np.arange(self.k)).ravel()])

    def _kth(self, order: Integers) -> Matrix:
        """Return (q,) the k-th best score of each query so far; the lowest if there are fewer than k."""
        query_rows = self.query_rows[order]
        last = np.searchsorted(query_rows, np.arange(len(self.queries)), side="right") - 1
        kth = np.searchsorted(query_rows, np.arange(len(self.queries))) + self.k - 1
        worst: Matrix = self.scores[order[np.minimum(kth, last)]]
        return worst

    def _gather(self) -> None:
        query_rows, positions, scores = zip(*self.pending, strict=True) if self.pending else ((), (), ())
        self.query_rows = np.concatenate([self.query_rows, *query_rows])
        self.positions = np.concatenate([self.positions, *positions])
        self.scores = np.concatenate([self.scores, *scores])
        self.pending.clear()

    def _keep(self, chosen: Integers) -> None:
        self.count = len(chosen)
        self.query_rows, self.positions, self.scores = (
            self.query_rows[chosen],
            self.positions[chosen],
            self.scores[chosen],
        )


def _true_positions(mask: NDArray[np.bool_]) -> Integers:
    """Return the ascending positions of the true values of a sparse mask."""
    whole = len(mask) // 8 * 8
    if whole < len(mask):
        return np.concatenate([_true_positions(mask[:whole]), whole + np.flatnonzero(mask[whole:])])
    words = np.flatnonzero(mask.view(np.uint64) != 0)  # eight values at once
    among, offsets = np.divmod(np.flatnonzero(mask.reshape(-1, 8)[words]), 8)
    positions: Integers = 8 * words[among] + offsets
    return positions
