"""Results of the served index in the units of an evaluation, compared with exact search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from retrieval.errors import OptionError
from retrieval.evaluation import trec
from retrieval.evaluation.metrics import Measure, RelevantRanks, summarise
from retrieval.evaluation.prepared_task import PreparedTask
from retrieval.evaluation.ranking import ranks_from_results, relevant_ranks
from retrieval.types import Integers, Matrix
from retrieval.vectors.base import VectorIndex
from retrieval.vectors.exact import ExactIndex

EXACT_KINDS = frozenset({"exact", "flat"})
"""Kinds of index that compare every vector, so that they serve the exact ranks."""

DEPTH = 100
"""Smallest number of results requested from an index, so that ranks and averages without a cut-off are meaningful."""

RUN_DEPTH = 1000
"""Results per query in a run file, as is usual at TREC."""

RESULTS_PER_CHUNK = 2**20


def is_exact(prepared: PreparedTask) -> bool:
    """Whether all vectors are compared: by the kind of the index, or because the target is items (always exact)."""
    return (
        prepared.item_pool is not None
        or prepared.index.modality_index(prepared.task.target).index.kind in EXACT_KINDS
    )


def exact_ranks(prepared: PreparedTask) -> RelevantRanks:
    """Return the ranks from comparing all vectors."""
    queries, gallery = prepared.vectors()
    ranks = relevant_ranks(queries, gallery, prepared.relevance)
    return ranks.with_missing_queries(list(prepared.missing.values()))


def served_ranks(prepared: PreparedTask, depth: int) -> RelevantRanks:
    """Return the ranks among the first ``depth`` results of the served index."""
    _, rows = search_results(prepared, depth)
    ranks = ranks_from_results(rows, prepared.relevance).truncate(depth)
    return ranks.with_missing_queries(list(prepared.missing.values()))


def search_results(prepared: PreparedTask, depth: int) -> tuple[Matrix, Integers]:
    """Return what the index finds: (q, k) float32 scores and (q, k) int64 positions in the task's pool.

    A query that is in the pool may find itself. One more result is requested for this case.
    """
    depth += bool((prepared.relevance.self_rows >= 0).any())
    if prepared.item_pool:
        queries, gallery = prepared.vectors()
        index: VectorIndex = ExactIndex(gallery)
        pool_rows = np.arange(len(gallery))
    else:
        queries = prepared.index.modality_index(prepared.task.query).index.vectors(prepared.query_rows)
        index, pool_rows = prepared.index.modality_index(prepared.task.target).index, prepared.pool_rows
    allowed = None if len(pool_rows) == len(index) else pool_rows
    positions = np.full(len(index), -1, np.int64)
    positions[pool_rows] = np.arange(len(pool_rows))
    chunk = max(1, RESULTS_PER_CHUNK // depth)
    scores, rows_by_chunk = zip(
        *(
            index.search(queries[start : start + chunk], depth, allowed)
            for start in range(0, len(queries), chunk)
        ),
        strict=True,
    )
    rows = np.concatenate(rows_by_chunk)
    return np.concatenate(scores), np.where(rows >= 0, positions[rows], -1)


def ranks_of_run(prepared: PreparedTask, run: trec.Run) -> RelevantRanks:
    """Return the ranks in a TREC run. A query that the run lacks has no results. Ties are broken by id.

    Raises:
        OptionError: the run names an asset that is not in the pool.
    """
    pool_position = {row: position for position, row in enumerate(prepared.pool_rows.tolist())}
    rankings = []
    for name in prepared.query_names[: len(prepared.query_rows)]:
        scored = []
        for asset, score in run.get(name, {}).items():
            positions = [
                pool_position[row] for row in prepared.pool_assets.rows_named(asset) if row in pool_position
            ]
            if len(positions) != 1:
                raise OptionError(
                    f"the run's {asset!r} is {'no' if not positions else 'more than one'} asset of the pool of "
                    f"{prepared.task}: expected names like {prepared.pool_names[0]!r}"
                )
            scored.append((-score, positions[0]))
        rankings.append([position for _, position in sorted(scored)])
    rows = np.full((len(rankings), max(map(len, rankings), default=0)), -1, np.int64)
    for number, ranking in enumerate(rankings):
        rows[number, : len(ranking)] = ranking
    ranks = ranks_from_results(rows, prepared.relevance)
    return ranks.with_missing_queries(list(prepared.missing.values()))


def compare_exact_and_served(
    by_filter: Mapping[str, PreparedTask], measures: Sequence[Measure]
) -> dict[str, dict[str, int | float | None]]:
    """Measure exact and served search of one task in the same units.

    Both use the same number of results: the largest cut-off, but at least ``DEPTH``.

    Args:
        by_filter: the task without a filter under ``""``; with a filter, under the suffix for its column names.
        measures: the measures to report.

    Returns:
        Figures under ``"exact"`` and ``"served"``, followed by the suffix for filtered tasks.
    """
    depth = result_depth(measures)
    table = {}
    for suffix, prepared in by_filter.items():
        columns = {"exact": exact_ranks(prepared).truncate(depth), "served": served_ranks(prepared, depth)}
        for name, ranks in columns.items():
            size = {"pool": len(prepared.pool_rows), "depth": min(depth, len(prepared.pool_rows))}
            table[f"{name}{suffix}"] = {**size, **summarise(ranks, measures)}
    return table


def result_depth(measures: Sequence[Measure]) -> int:
    """Return how many results the measures need."""
    return max([DEPTH, *(measure.cutoff or 1 for measure in measures)])
