"""Batch evaluation of a published index: the figures, how far to trust them, and the protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.errors import OptionError
from retrieval.evaluation import bootstrap, runs, trec
from retrieval.evaluation.assets import first_names
from retrieval.evaluation.bootstrap import Resampling
from retrieval.evaluation.metrics import Measure, RelevantRanks, Values, standard_measures
from retrieval.evaluation.prepared_task import PreparedTask, Rules, TaskPreparer
from retrieval.evaluation.protocol import stamp
from retrieval.evaluation.score_correction import NONE
from retrieval.evaluation.task import Task
from retrieval.fusion.fitted import FittedFusion
from retrieval.search.index_reader import HasIndex, IndexReader
from retrieval.types import ITEM

NO_VALUE = "(none)"
"""The slice of the queries whose item has no value in the column."""


@dataclass(frozen=True)
class Outcome:
    """One task, query by query.

    Attributes:
        trial: who asked whom.
        ranks: of the relevant assets.
        values: by measure, (q,) float64, NaN for queries without relevant assets.
    """

    prepared: PreparedTask
    ranks: RelevantRanks
    values: Mapping[Measure, Values]


@dataclass(frozen=True)
class Evaluation:
    """Figures, and the protocol without which they mean nothing.

    Attributes:
        protocol: all that the figures depend on, as ``retrieval.evaluation.protocol.stamp`` writes it.
        tasks: by task, ``queries`` and ``pool`` (how many), ``queries_without_relevant`` (in no average) and
            their names, each measure, and ``intervals`` by measure; ``slices`` and ``compare`` if asked for.
        outcomes: by task, what the figures were taken of.
    """

    protocol: Mapping[str, Any]
    tasks: Mapping[str, Mapping[str, Any]]
    outcomes: Mapping[str, Outcome] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as ``xmodal evaluate --json`` prints them."""
        return {"protocol": dict(self.protocol), "tasks": {name: dict(of) for name, of in self.tasks.items()}}


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
    hubness: str = NONE,
    fusion: FittedFusion | None = None,
    resampling: Resampling | None = None,
) -> Evaluation:
    """Ask the index with its own assets and measure what comes back.

    A task's queries are the assets of one modality, as they are stored, and the pool those of another. Ties
    are broken by item id. When both modalities are the same, an asset is not in its own pool. Whole media
    ask and are searched, not their segments. Where B is ``item``, the pool is of whole items, each made one
    vector of what it has besides A, and all of them are compared.

    Args:
        engine: an open index.
        tasks: ``A-to-B`` or ``A-to-item``, or when None every pair of different modalities that the index has.
        ks: cut-offs of the measures that take one.
        relevance: ``"item"``: the same item is relevant; or a metadata column: any item with the same value.
        split: whose assets ask: ``"holdout"`` or ``"all"``; None is the holdout where there is one.
        pool: whose assets are searched; None is as the split.
        where: a filter on the metadata of what is searched.
        captions: how many captions of each item take part, the first ones; all when None.
        qrels: a TREC file of judgements, graded or not, that say what is relevant.
        run: a TREC run of the one task, measured in the place of a search.
        by: metadata columns: figures also of the queries with each of their values.
        measures: further ones, besides those that ``standard_measures(ks)`` gives.
        exact: compare everything, also where the index served is approximate.
        compare: also exact and served search side by side.
        hubness: correct scores against hubs or the modality gap: ``"centre"``, ``"csls"`` or ``"qbnorm"``, by what
            is not held out; exact search alone, for the index that is served does not do that.
        fusion: how items become one vector each; as in the index when None.
        resampling: of the intervals; 1,000 resamples from seed 0 when None.

    Raises:
        OptionError: an unknown task or split, a cut-off below 1, no assets to ask with or for; items are asked for
            and there is no fusion, or exact and served search of them are to be compared.
        ExpressionError: ``relevance`` or one of ``by`` is no column, or ``where`` does not parse.
        SourceError: the judgements or the run cannot be read.
    """
    index = engine.index
    rules = Rules(split, pool, relevance, qrels, captions, where, hubness)
    if hubness != NONE and (compare or run is not None):
        raise OptionError(
            f"scores corrected by {hubness!r} are those of exact search: leave out compare or run"
        )
    exact |= hubness != NONE
    wanted = tuple(dict.fromkeys((*standard_measures(ks), *measures)))
    resampling = resampling or Resampling()
    chosen = _tasks(index, tasks)
    if compare and any(task.target == ITEM for task in chosen):
        raise OptionError(
            "items are evaluated by exact search alone: leave out compare, or the tasks to item"
        )
    prepared_tasks, rules = TaskPreparer(index, rules, fusion).of(chosen)
    listed = None if run is None else trec.read_run(run)
    if listed is not None and len(prepared_tasks) > 1:
        raise OptionError(f"a run is of one task, not of {len(prepared_tasks)}: say which with --task")
    columns = {column: index.catalog.labels(column) for column in by}
    figures, outcomes = {}, {}
    for prepared in prepared_tasks:
        outcome = _outcome(prepared, wanted, exact=exact, run=listed)
        found: dict[str, Any] = {
            "queries": int((outcome.ranks.relevant > 0).sum()),
            "pool": len(prepared.asked),
            **_figures(outcome, np.ones(len(outcome.ranks.relevant), np.bool_)),
            "intervals": {
                str(measure): ends and list(ends)
                for measure, ends in bootstrap.intervals(outcome.values, resampling).items()
            },
        }
        if by:
            found["slices"] = {column: _slices(outcome, values) for column, values in columns.items()}
        figures[str(prepared.task)], outcomes[str(prepared.task)] = found, outcome
    if compare:
        for name, columns_of in _compared(index, chosen, rules, wanted).items():
            figures[name]["compare"] = columns_of
    is_exact = run is None and (exact or all(runs.is_exact(prepared) for prepared in prepared_tasks))
    return Evaluation(stamp(index, prepared_tasks, rules, resampling, exact=is_exact), figures, outcomes)


def _tasks(index: IndexReader, names: Sequence[str] | None) -> list[Task]:
    if names:
        return list(dict.fromkeys(Task.parse(name) for name in names))
    pairs = [Task(a, b) for a in index.modalities for b in index.modalities if a is not b]
    if not pairs:
        held = ", ".join(index.modalities) or "nothing"
        raise OptionError(f"there is no pair of modalities to evaluate: the index holds {held}")
    return pairs


def _outcome(
    prepared: PreparedTask, measures: Sequence[Measure], *, exact: bool, run: trec.Run | None
) -> Outcome:
    if run is not None:
        ranks = runs.ranks_of_run(prepared, run)
    elif exact or runs.is_exact(prepared):
        ranks = runs.exact_ranks(prepared)
    else:
        ranks = runs.served_ranks(prepared, runs.depth_of(measures))
    return Outcome(prepared, ranks, {measure: measure.values(ranks) for measure in measures})


def _figures(outcome: Outcome, queries: np.ndarray[Any, np.dtype[np.bool_]]) -> dict[str, Any]:
    """Of ``queries``, (q,) bool, those without relevant assets, and each measure over the others."""
    unjudged = np.flatnonzero(queries & (outcome.ranks.relevant == 0))
    names = outcome.prepared.query_names if len(unjudged) else []
    return {
        "queries_without_relevant": len(unjudged),
        "without_relevant": first_names(names[at] for at in unjudged.tolist()),
        **{str(measure): measure.average(values[queries]) for measure, values in outcome.values.items()},
    }


def _slices(outcome: Outcome, values: Mapping[int, Any]) -> dict[str, dict[str, Any]]:
    """The figures of the queries with each value of a metadata column."""
    prepared = outcome.prepared
    items = prepared.queries.table.items[prepared.asking].tolist()
    labels = np.array(
        [str(values.get(item, NO_VALUE)) for item in items] + [NO_VALUE] * len(prepared.missing), dtype=object
    )
    slices = {}
    for label in sorted(set(labels.tolist())):
        chosen = np.equal(labels, label).astype(np.bool_)
        judged = int((chosen & (outcome.ranks.relevant > 0)).sum())
        slices[label] = {"queries": judged, **_figures(outcome, chosen)}
    return slices


def _compared(
    index: IndexReader, tasks: Sequence[Task], rules: Rules, measures: Sequence[Measure]
) -> dict[str, Any]:
    """Exact and served search of each task, and where there is a filter, both with it and without."""
    filters = {"": None} if rules.where is None else {"": None, f" where {rules.where}": rules.where}
    prepared_tasks: dict[str, dict[str, PreparedTask]] = {str(task): {} for task in tasks}
    for suffix, where in filters.items():
        same = replace(rules, where=where)
        for prepared in TaskPreparer(index, same).of(tasks)[0]:
            prepared_tasks[str(prepared.task)][suffix] = prepared
    return {name: runs.side_by_side(each, measures) for name, each in prepared_tasks.items()}
