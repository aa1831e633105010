"""What the index itself returns, in the evaluation's units, and what that costs against exact search."""

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
"""Kinds of index that compare every vector, so that exact ranks are those they serve."""

DEPTH = 100
"""Results asked of an index at the least, so that ranks and averages beyond the cut-offs mean something."""

RUN_DEPTH = 1000
"""Results a query in a run that is written, as TREC has them."""

RESULTS_A_CHUNK = 2**20


def is_exact(prepared: PreparedTask) -> bool:
    """Whether all vectors are compared: by the kind of the index, or because items are evaluated in no other way."""
    return (
        prepared.item_pool is not None
        or prepared.index.modality_index(prepared.task.target).index.kind in EXACT_KINDS
    )


def exact_ranks(prepared: PreparedTask) -> RelevantRanks:
    """The ranks that comparing everything gives."""
    queries, gallery = prepared.vectors()
    ranks = relevant_ranks(queries, gallery, prepared.relevance)
    return ranks.with_missing(list(prepared.missing.values()))


def served_ranks(prepared: PreparedTask, depth: int) -> RelevantRanks:
    """The ranks among the first ``depth`` results of the index that is served."""
    _, rows = results(prepared, depth)
    ranks = ranks_from_results(rows, prepared.relevance).cut(depth)
    return ranks.with_missing(list(prepared.missing.values()))


def results(prepared: PreparedTask, depth: int) -> tuple[Matrix, Integers]:
    """What the index returns: (q, k) float32 scores and (q, k) int64 places in the trial's pool.

    A query that is in the pool may find itself, and so one result more is asked for.
    """
    depth += bool((prepared.relevance.query_rows >= 0).any())
    if prepared.item_pool:
        queries, gallery = prepared.vectors()
        index: VectorIndex = ExactIndex(gallery)
        asked = np.arange(len(gallery))
    else:
        queries = prepared.index.modality_index(prepared.task.query).index.vectors(prepared.asking)
        index, asked = prepared.index.modality_index(prepared.task.target).index, prepared.asked
    among = None if len(asked) == len(index) else asked
    places = np.full(len(index), -1, np.int64)
    places[asked] = np.arange(len(asked))
    chunk = max(1, RESULTS_A_CHUNK // depth)
    scores, found = zip(
        *(index.search(queries[at : at + chunk], depth, among) for at in range(0, len(queries), chunk)),
        strict=True,
    )
    rows = np.concatenate(found)
    return np.concatenate(scores), np.where(rows >= 0, places[rows], -1)


def ranks_of_run(prepared: PreparedTask, run: trec.Run) -> RelevantRanks:
    """The ranks in somebody's run; queries that it lacks found nothing. Ties are broken by id.

    Raises:
        OptionError: it names an asset that is not in the pool.
    """
    at = {row: place for place, row in enumerate(prepared.asked.tolist())}
    lists = []
    for name in prepared.query_names[: len(prepared.asking)]:
        scored = []
        for asset, score in run.get(name, {}).items():
            held = [at[row] for row in prepared.pool.rows_of(asset) if row in at]
            if len(held) != 1:
                raise OptionError(
                    f"the run's {asset!r} is {'no' if not held else 'more than one'} asset of the pool of "
                    f"{prepared.task}: expected names such as {prepared.pool_names[0]!r}"
                )
            scored.append((-score, held[0]))
        lists.append([row for _, row in sorted(scored)])
    rows = np.full((len(lists), max(map(len, lists), default=0)), -1, np.int64)
    for place, listed in enumerate(lists):
        rows[place, : len(listed)] = listed
    return ranks_from_results(rows, prepared.relevance).with_missing(list(prepared.missing.values()))


def side_by_side(
    prepared_tasks: Mapping[str, PreparedTask], measures: Sequence[Measure]
) -> dict[str, dict[str, int | float | None]]:
    """Exact and served search of one task in the same units, for each of the trials.

    Both look at the same number of results: as many as the largest cut-off, but ``DEPTH`` at the least.

    Args:
        prepared_tasks: the task without a filter under ``""``, with one under what is written behind the name.
        measures: what is measured.

    Returns:
        Figures under ``"exact"`` and ``"served"``, and for filtered trials under the same with the filter.
    """
    depth = depth_of(measures)
    table = {}
    for suffix, prepared in prepared_tasks.items():
        columns = {"exact": exact_ranks(prepared).cut(depth), "served": served_ranks(prepared, depth)}
        for name, ranks in columns.items():
            size = {"pool": len(prepared.asked), "depth": min(depth, len(prepared.asked))}
            table[f"{name}{suffix}"] = {**size, **summarise(ranks, measures)}
    return table


def depth_of(measures: Sequence[Measure]) -> int:
    """How many results the measures need."""
    return max([DEPTH, *(measure.cutoff or 1 for measure in measures)])
