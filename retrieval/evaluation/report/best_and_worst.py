"""Examples for the report: the queries with the best and worst ranks, with previews of their results."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.display.previews import Preview, previews
from retrieval.evaluation.evaluate import TaskResult
from retrieval.evaluation.prepared_task import PreparedTask
from retrieval.types import Integers

EXAMPLES = 5
"""Best queries, and worst ones, to show."""

RESULTS = 3
"""Results to show of each query."""


@dataclass(frozen=True, slots=True)
class QueryExample:
    """One query with its results.

    Attributes:
        query: the query.
        rank: of the first relevant asset; None if none was found.
        relevant: the relevant asset with the highest score; None if the pool has none.
        results: the first results, and whether each is relevant.
    """

    query: Preview
    rank: int | None
    relevant: Preview | None
    results: list[tuple[Preview, bool]]


def best_and_worst(task_result: TaskResult) -> tuple[list[QueryExample], list[QueryExample]]:
    """Return the queries whose first relevant asset has the best rank, and the worst; ties by id."""
    prepared = task_result.prepared
    judged = np.flatnonzero(task_result.ranks.relevant[: len(prepared.query_rows)] > 0)
    ranks = task_result.ranks.first[judged]
    best = judged[np.argsort(ranks, kind="stable")[:EXAMPLES]]
    worst = np.setdiff1d(judged[np.argsort(-ranks, kind="stable")[:EXAMPLES]], best, assume_unique=True)
    worst = worst[np.argsort(-task_result.ranks.first[worst], kind="stable")]
    return _examples(task_result, best), _examples(task_result, worst)


def _examples(task_result: TaskResult, queries: Integers) -> list[QueryExample]:
    prepared = task_result.prepared
    query_vectors, gallery = prepared.vectors()
    examples = []
    for query in queries.tolist():
        scores = gallery @ query_vectors[query]
        self_row = int(prepared.relevance.self_rows[query])
        if self_row >= 0:
            scores[self_row] = -np.inf
        _, columns, _ = prepared.relevance.pairs(slice(query, query + 1))
        order = np.argsort(-scores, kind="stable")[:RESULTS]
        relevant = columns[np.argsort(-scores[columns], kind="stable")[:1]]
        shown = _previews(prepared, query, np.concatenate([relevant, order]))
        first = task_result.ranks.first[query]
        examples.append(
            QueryExample(
                query=shown[0],
                rank=int(first) if np.isfinite(first) else None,
                relevant=shown[1] if len(relevant) else None,
                results=list(zip(shown[1 + len(relevant) :], np.isin(order, columns).tolist(), strict=True)),
            )
        )
    return examples


def _previews(prepared: PreparedTask, query: int, columns: Integers) -> list[Preview]:
    """Return previews of a query and of the pool's assets at ``columns``."""
    query_asset = int(prepared.query_assets.table.assets[prepared.query_rows[query]])
    pool_assets = prepared.pool_assets.table.assets[prepared.pool_rows[columns]].tolist()
    return previews(prepared.index.catalog, prepared.index.manifest.sources, [query_asset, *pool_assets])
