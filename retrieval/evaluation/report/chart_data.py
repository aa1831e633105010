"""Data of the report's charts: hit and recall curves, correlations, similarities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.evaluation.evaluate import TaskResult
from retrieval.evaluation.metrics import RelevantRanks
from retrieval.evaluation.prepared_task import PreparedTask
from retrieval.evaluation.report.charts import Curve

MAX_DEPTH = 1000
"""Largest k of the hit and recall curves."""

SAMPLED_QUERIES = 500
"""Queries whose pairs are used; if there are more, a sample with a fixed seed."""


def recall_curves(task_result: TaskResult) -> tuple[Curve, Curve]:
    """Return hit@k and recall@k for every k up to the pool's size, at most ``MAX_DEPTH``."""
    depth = max(1, min(MAX_DEPTH, len(task_result.prepared.pool_rows)))
    ranks = task_result.ranks
    judged = max(1, int((ranks.relevant > 0).sum()))
    first = ranks.first[np.isfinite(ranks.first)].astype(np.int64)
    return (
        _cumulative(first, np.ones(len(first)), depth, judged),
        _cumulative(ranks.ranks, _recall_shares(ranks), depth, judged),
    )


def _recall_shares(ranks: RelevantRanks) -> NDArray[np.float64]:
    """Return how much each retrieved relevant asset adds to its query's recall, (found,)."""
    shares: NDArray[np.float64] = 1.0 / ranks.relevant[ranks.query_numbers]
    return shares


def _cumulative(ranks: NDArray[Any], weights: NDArray[Any], depth: int, judged: int) -> Curve:
    within = ranks <= depth
    steps = np.bincount(ranks[within], weights[within], depth + 1)[1:]
    return np.arange(1, depth + 1), steps.cumsum() / judged


def similarity_samples(prepared: PreparedTask) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the inner products of the relevant pairs, and of all other pairs, of a sample of queries."""
    query_vectors, gallery, sample = _sample_queries(prepared)
    scores = query_vectors @ gallery.T
    relevant = np.zeros(scores.shape, np.bool_)
    for row, query in enumerate(sample.tolist()):
        _, columns, _ = prepared.relevance.pairs(slice(query, query + 1))
        relevant[row, columns] = True
    others = ~relevant
    self_rows = prepared.relevance.self_rows[sample]
    others[np.flatnonzero(self_rows >= 0), self_rows[self_rows >= 0]] = False
    return scores[relevant], scores[others]


def dimension_correlations(prepared: PreparedTask) -> NDArray[np.float64]:
    """Return Pearson's correlation of each dimension, descending, over pairs of a query and its first relevant asset.

    Dimensions without variance have no correlation and are left out.
    """
    query_vectors, gallery, sample = _sample_queries(prepared, 20 * SAMPLED_QUERIES)
    pairs = []
    for row, query in enumerate(sample.tolist()):
        _, columns, _ = prepared.relevance.pairs(slice(query, query + 1))
        if len(columns):
            pairs.append((row, int(columns[0])))
    if len(pairs) < 3:
        return np.empty(0)
    left, right = np.array(pairs).T
    first, second = (rows.astype(np.float64) for rows in (query_vectors[left], gallery[right]))
    first -= first.mean(axis=0)
    second -= second.mean(axis=0)
    scale = np.linalg.norm(first, axis=0) * np.linalg.norm(second, axis=0)
    varies = scale > 1e-9
    values: NDArray[np.float64] = (first * second).sum(axis=0)[varies] / scale[varies]
    return -np.sort(-values)


def _sample_queries(
    prepared: PreparedTask, limit: int = SAMPLED_QUERIES
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the vectors of at most ``limit`` queries, the gallery, and the numbers of these queries."""
    query_vectors, gallery = prepared.vectors()
    count = min(limit, len(query_vectors))
    sample = np.sort(np.random.default_rng(0).choice(len(query_vectors), count, replace=False))
    return query_vectors[sample], gallery, sample
