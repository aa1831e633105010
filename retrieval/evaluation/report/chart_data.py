"""What the report's curves are drawn from: shares found, correlations, similarities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.evaluation.evaluate import Outcome
from retrieval.evaluation.metrics import RelevantRanks
from retrieval.evaluation.prepared_task import PreparedTask
from retrieval.evaluation.report.charts import Curve

LONGEST = 1000
"""Results up to which shares found are drawn."""

QUERIES = 500
"""Queries whose pairs are looked at; drawn by a fixed seed where there are more."""


def found_curves(outcome: Outcome) -> tuple[Curve, Curve]:
    """Hit@k and recall@k for every k up to the pool's size, or ``LONGEST``."""
    longest = max(1, min(LONGEST, len(outcome.prepared.asked)))
    ranks = outcome.ranks
    judged = max(1, int((ranks.relevant > 0).sum()))
    first = ranks.first[np.isfinite(ranks.first)].astype(np.int64)
    return (
        _cumulative(first, np.ones(len(first)), longest, judged),
        _cumulative(ranks.ranks, _share_of_each(ranks), longest, judged),
    )


def _share_of_each(ranks: RelevantRanks) -> NDArray[np.float64]:
    """(found,) what finding each relevant asset adds to its query's recall."""
    shares: NDArray[np.float64] = 1.0 / ranks.relevant[ranks.owners]
    return shares


def _cumulative(ranks: NDArray[Any], weights: NDArray[Any], longest: int, judged: int) -> Curve:
    within = ranks <= longest
    steps = np.bincount(ranks[within], weights[within], longest + 1)[1:]
    return np.arange(1, longest + 1), steps.cumsum() / judged


def similarity_samples(prepared: PreparedTask) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The inner products of the matching pairs, and of all others, of some queries."""
    queries, pool, chosen = _some(prepared)
    scores = queries @ pool.T
    matching = np.zeros(scores.shape, np.bool_)
    for at, query in enumerate(chosen.tolist()):
        _, columns, _ = prepared.relevance.pairs(slice(query, query + 1))
        matching[at, columns] = True
    others = ~matching
    itself = prepared.relevance.query_rows[chosen]
    others[np.flatnonzero(itself >= 0), itself[itself >= 0]] = False
    return scores[matching], scores[others]


def dimension_correlations(prepared: PreparedTask) -> NDArray[np.float64]:
    """Pearson's correlation of each dimension over the pairs of a query and its first match, descending.

    Dimensions that do not vary have none and are left out.
    """
    queries, pool, chosen = _some(prepared, 20 * QUERIES)
    pairs = []
    for at, query in enumerate(chosen.tolist()):
        _, columns, _ = prepared.relevance.pairs(slice(query, query + 1))
        if len(columns):
            pairs.append((at, int(columns[0])))
    if len(pairs) < 3:
        return np.empty(0)
    left, right = np.array(pairs).T
    first, second = (rows.astype(np.float64) for rows in (queries[left], pool[right]))
    first -= first.mean(axis=0)
    second -= second.mean(axis=0)
    scale = np.linalg.norm(first, axis=0) * np.linalg.norm(second, axis=0)
    varies = scale > 1e-9
    values: NDArray[np.float64] = (first * second).sum(axis=0)[varies] / scale[varies]
    return -np.sort(-values)


def _some(prepared: PreparedTask, most: int = QUERIES) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    queries, pool = prepared.vectors()
    count = min(most, len(queries))
    chosen = np.sort(np.random.default_rng(0).choice(len(queries), count, replace=False))
    return queries[chosen], pool, chosen
