"""Batch evaluation of a published index: measures, their intervals, and the protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.errors import OptionError
from retrieval.evaluation import bootstrap, runs, trec
from retrieval.evaluation.bootstrap import Resampling
from retrieval.evaluation.metrics import Measure, RelevantRanks, Values, standard_measures
from retrieval.evaluation.modality_assets import first_names
from retrieval.evaluation.prepared_task import EvaluationOptions, PreparedTask, TaskPreparer
from retrieval.evaluation.protocol import protocol_stamp
from retrieval.evaluation.score_correction import NO_CORRECTION
from retrieval.evaluation.task import Task
from retrieval.fusion.stored_fusion import FittedFusion
from retrieval.search.index_reader import HasIndex, IndexReader
from retrieval.types import ITEM

NO_VALUE = "(none)"
"""The slice of queries whose item has no value in the column."""


@dataclass(frozen=True)
class TaskResult:
    """The result of one task, query by query.

    Attributes:
        prepared: queries, pool and relevance.
        ranks: of the relevant assets.
        values: by measure, (q,) float64, NaN for queries without relevant assets.
    """

    prepared: PreparedTask
    ranks: RelevantRanks
    values: Mapping[Measure, Values]


@dataclass(frozen=True)
class Evaluation:
    """Measured figures, with the protocol that is needed to interpret them.

    Attributes:
        protocol: everything the figures depend on; see ``retrieval.evaluation.protocol.protocol_stamp``.
        tasks: by task, the counts ``queries``, ``pool`` and ``queries_without_relevant`` (excluded from every average),
            the names of the latter, each measure, and ``intervals`` by measure; ``slices`` and ``compare`` if
            requested.
        task_results: by task, the values behind the figures.
    """

    protocol: Mapping[str, Any]
    tasks: Mapping[str, Mapping[str, Any]]
    task_results: Mapping[str, TaskResult] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as ``xmodal evaluate --json`` prints them."""
        return {
            "protocol": dict(self.protocol),
            "tasks": {name: dict(figures) for name, figures in self.tasks.items()},
        }


def evaluate(
    engine: HasIndex,
    tasks: Sequence[str] | None = None,
    ks: Sequence[int] = (1, 5, 10),
    *,
    relevance: str = ITEM,
    split: str | None = None,
    pool: str | None = None,
    where: str | None = None,
    captions: int | None = None,
    qrels: Path | None = None,
    run: Path | None = None,
    by: Sequence[str] = (),
    measures: Sequence[Measure] = (),
    exact: bool = False,
    compare: bool = False,
    hubness: str = NO_CORRECTION,
    fusion: FittedFusion | None = None,
    resampling: Resampling | None = None,
) -> Evaluation:
    """Query the index with its own assets and measure the results.

    The queries of a task are the stored assets of one modality; the pool holds those of another. Ties are broken by
    item id. If both modalities are the same, an asset is not in its own pool. Queries and pool are whole media;
    segments are excluded. In a task ``A-to-item`` the pool holds whole items: each is one vector fused from its
    modalities except A, and all of them are compared.

    Args:
        engine: an open index.
        tasks: ``A-to-B`` or ``A-to-item``; when None, every pair of different modalities in the index.
        ks: cut-offs of the measures that take one.
        relevance: ``"item"``: assets of the same item are relevant; or a metadata column: assets of any item with the
            same value.
        split: the assets used as queries: ``"holdout"`` or ``"all"``; when None, the holdout if there is one.
        pool: the assets that are searched; the same as ``split`` when None.
        where: a metadata filter on the pool.
        captions: use only the first so many captions of each item; all when None.
        qrels: a TREC file of relevance judgements, with or without grades.
        run: a TREC run of a single task, measured instead of a search.
        by: metadata columns; also measure the queries with each value separately.
        measures: measures to add to those of ``standard_measures(ks)``.
        exact: compare all vectors, even if the index is approximate.
        compare: also measure exact and served search side by side.
        hubness: correct scores for hubs or the modality gap: ``"centre"``, ``"csls"`` or ``"qbnorm"``, fitted to assets
            that are not held out. Implies exact search, because the served index does not apply corrections.
        fusion: makes one vector of each item; the index's own when None.
        resampling: for the intervals; 1,000 resamples from seed 0 when None.

    Raises:
        OptionError: an unknown task or split, a cut-off below 1, no queries or no pool; a task has target ``item`` and
            the index has no fusion, or ``compare`` is set for it.
        ExpressionError: ``relevance`` or one of ``by`` is no column, or ``where`` does not parse.
        SourceError: the judgements or the run cannot be read.
    """
    index = engine.index
    options = EvaluationOptions(
        split=split,
        pool=pool,
        relevance=relevance,
        qrels=qrels,
        captions=captions,
        where=where,
        hubness=hubness,
    )
    if hubness != NO_CORRECTION and (compare or run is not None):
        raise OptionError(
            f"hubness {hubness!r} corrects scores of exact search only: leave out compare and run"
        )
    exact |= hubness != NO_CORRECTION
    all_measures = tuple(dict.fromkeys((*standard_measures(ks), *measures)))
    resampling = resampling or Resampling()
    requested = _tasks(index, tasks)
    if compare and any(task.target == ITEM for task in requested):
        raise OptionError("items are evaluated by exact search only: leave out compare or the tasks to item")
    prepared_tasks, options = TaskPreparer(index, options, fusion).prepare(requested)
    trec_run = None if run is None else trec.read_run(run)
    if trec_run is not None and len(prepared_tasks) > 1:
        raise OptionError(f"a run is of one task, not of {len(prepared_tasks)}: name the task with --task")
    columns = {column: index.catalog.labels(column) for column in by}
    figures, task_results = {}, {}
    for prepared in prepared_tasks:
        task_result = _measure(prepared, all_measures, exact=exact, run=trec_run)
        entry: dict[str, Any] = {
            "queries": int((task_result.ranks.relevant > 0).sum()),
            "pool": len(prepared.pool_rows),
            **_figures(task_result, np.ones(len(task_result.ranks.relevant), np.bool_)),
            "intervals": {
                str(measure): ends and list(ends)
                for measure, ends in bootstrap.intervals(task_result.values, resampling).items()
            },
        }
        if by:
            entry["slices"] = {column: _slices(task_result, values) for column, values in columns.items()}
        figures[str(prepared.task)], task_results[str(prepared.task)] = entry, task_result
    if compare:
        for name, comparison in _compare(index, requested, options, all_measures).items():
            figures[name]["compare"] = comparison
    is_exact = run is None and (exact or all(runs.is_exact(prepared) for prepared in prepared_tasks))
    protocol = protocol_stamp(index, prepared_tasks, options, resampling, exact=is_exact)
    return Evaluation(protocol, figures, task_results)


def _tasks(index: IndexReader, names: Sequence[str] | None) -> list[Task]:
    if names:
        return list(dict.fromkeys(Task.parse(name) for name in names))
    pairs = [
        Task(query, target)
        for query in index.modalities
        for target in index.modalities
        if query is not target
    ]
    if not pairs:
        modalities = ", ".join(index.modalities) or "nothing"
        raise OptionError(f"there is no pair of modalities to evaluate: the index holds {modalities}")
    return pairs


def _measure(
    prepared: PreparedTask, measures: Sequence[Measure], *, exact: bool, run: trec.Run | None
) -> TaskResult:
    if run is not None:
        ranks = runs.ranks_of_run(prepared, run)
    elif exact or runs.is_exact(prepared):
        ranks = runs.exact_ranks(prepared)
    else:
        ranks = runs.served_ranks(prepared, runs.result_depth(measures))
    return TaskResult(prepared, ranks, {measure: measure.values(ranks) for measure in measures})


def _figures(task_result: TaskResult, selected: np.ndarray[Any, np.dtype[np.bool_]]) -> dict[str, Any]:
    """Return the selected queries without relevant assets, and each measure over the other selected ones.

    Args:
        task_result: a task's result.
        selected: (q,) which queries to include.
    """
    unjudged = np.flatnonzero(selected & (task_result.ranks.relevant == 0))
    names = task_result.prepared.query_names if len(unjudged) else []
    return {
        "queries_without_relevant": len(unjudged),
        "without_relevant": first_names(names[number] for number in unjudged.tolist()),
        **{str(measure): measure.average(values[selected]) for measure, values in task_result.values.items()},
    }


def _slices(task_result: TaskResult, values: Mapping[int, Any]) -> dict[str, dict[str, Any]]:
    """Return the figures of the queries with each value of a metadata column; ``values`` are by item number."""
    prepared = task_result.prepared
    items = prepared.query_assets.table.items[prepared.query_rows].tolist()
    labels = np.array(
        [str(values.get(item, NO_VALUE)) for item in items] + [NO_VALUE] * len(prepared.missing), dtype=object
    )
    slices = {}
    for label in sorted(set(labels.tolist())):
        selected = np.equal(labels, label).astype(np.bool_)
        judged = int((selected & (task_result.ranks.relevant > 0)).sum())
        slices[label] = {"queries": judged, **_figures(task_result, selected)}
    return slices


def _compare(
    index: IndexReader, tasks: Sequence[Task], options: EvaluationOptions, measures: Sequence[Measure]
) -> dict[str, Any]:
    """Measure exact and served search of each task; with a filter, both with and without it."""
    filters = {"": None} if options.where is None else {"": None, f" where {options.where}": options.where}
    by_task: dict[str, dict[str, PreparedTask]] = {str(task): {} for task in tasks}
    for suffix, where in filters.items():
        for prepared in TaskPreparer(index, replace(options, where=where)).prepare(tasks)[0]:
            by_task[str(prepared.task)][suffix] = prepared
    return {name: runs.compare_exact_and_served(by_filter, measures) for name, by_filter in by_task.items()}
