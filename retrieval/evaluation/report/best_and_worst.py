"""The queries that went best and worst, with what they are and what they found, to be looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.display.previews import Preview, previews
from retrieval.evaluation.evaluate import Outcome
from retrieval.evaluation.prepared_task import PreparedTask
from retrieval.types import Integers

SHOWN = 5
RESULTS = 3


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One query.

    Attributes:
        query: who asked.
        rank: of the first relevant asset; None if none was found.
        wanted: that asset, or another relevant one; None where the pool has none.
        results: what came first, and whether each is relevant.
    """

    query: Preview
    rank: int | None
    wanted: Preview | None
    results: list[tuple[Preview, bool]]


def best_and_worst(outcome: Outcome) -> tuple[list[Exhibit], list[Exhibit]]:
    """Of the queries with a relevant asset those whose first one ranks highest, and lowest; ties by id."""
    prepared = outcome.prepared
    asked = np.flatnonzero(outcome.ranks.relevant[: len(prepared.asking)] > 0)
    ranks = outcome.ranks.first[asked]
    best = asked[np.argsort(ranks, kind="stable")[:SHOWN]]
    worst = np.setdiff1d(asked[np.argsort(-ranks, kind="stable")[:SHOWN]], best, assume_unique=True)
    worst = worst[np.argsort(-outcome.ranks.first[worst], kind="stable")]
    return _exhibits(outcome, best), _exhibits(outcome, worst)


def _exhibits(outcome: Outcome, chosen: Integers) -> list[Exhibit]:
    prepared = outcome.prepared
    queries, pool = prepared.vectors()
    exhibits = []
    for query in chosen.tolist():
        scores = pool @ queries[query]
        itself = int(prepared.relevance.query_rows[query])
        if itself >= 0:
            scores[itself] = -np.inf
        _, columns, _ = prepared.relevance.pairs(slice(query, query + 1))
        order = np.argsort(-scores, kind="stable")[:RESULTS]
        wanted = columns[np.argsort(-scores[columns], kind="stable")[:1]]
        shown = _media(prepared, query, np.concatenate([wanted, order]))
        first = outcome.ranks.first[query]
        exhibits.append(
            Exhibit(
                shown[0],
                int(first) if np.isfinite(first) else None,
                shown[1] if len(wanted) else None,
                list(zip(shown[1 + len(wanted) :], np.isin(order, columns).tolist(), strict=True)),
            )
        )
    return exhibits


def _media(prepared: PreparedTask, query: int, columns: Integers) -> list[Preview]:
    """The query, and the pool's assets at ``columns``."""
    asks = int(prepared.queries.table.assets[prepared.asking[query]])
    found = prepared.pool.table.assets[prepared.asked[columns]].tolist()
    return previews(prepared.index.catalog, prepared.index.manifest.sources, [asks, *found])
