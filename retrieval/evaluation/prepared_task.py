"""A task prepared for evaluation: its query rows, its pool rows, and the relevant pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from retrieval.errors import OptionError
from retrieval.evaluation import score_correction, trec
from retrieval.evaluation.item_pool import ItemPool
from retrieval.evaluation.metrics import Values
from retrieval.evaluation.modality_assets import Assets
from retrieval.evaluation.relevance import Qrels, Relevance, RelevancePairs, SameLabel
from retrieval.evaluation.task import Task
from retrieval.fusion.stored_fusion import FittedFusion
from retrieval.option_checks import known
from retrieval.search.index_reader import IndexReader
from retrieval.types import ITEM, Integers, Matrix, MetadataValue, Modality

HOLDOUT, ALL = SPLITS = ("holdout", "all")
QRELS = "qrels"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """Options that choose queries, pool and relevance.

    Attributes:
        split: the assets used as queries: ``"holdout"`` or ``"all"``; None for the holdout if there is one.
        pool: the assets that are searched; None for the same as ``split``.
        relevance: ``"item"``: assets of the same item are relevant; or a metadata column: assets of any item with the
            same value.
        qrels: a TREC file of relevance judgements, used instead of ``relevance``.
        captions: use only the first so many captions of each item; all when None.
        where: a metadata filter on the pool.
        hubness: a correction of scores in ``retrieval.evaluation.score_correction.CORRECTIONS``, or ``"none"``.
    """

    split: str | None = None
    pool: str | None = None
    relevance: str = ITEM
    qrels: Path | None = None
    captions: int | None = None
    where: str | None = None
    hubness: str = score_correction.NO_CORRECTION

    def __post_init__(self) -> None:
        score_correction.check_correction(self.hubness)
        for option, name in (("split", self.split), ("pool", self.pool)):
            if name is not None:
                known(option, name, SPLITS)
        if self.captions is not None and self.captions < 1:
            raise OptionError(f"captions must be at least 1, not {self.captions}")
        if self.qrels is not None and self.relevance != ITEM:
            raise OptionError(
                f"expected relevance by judgements (qrels) or by column {self.relevance!r}, not both: leave one out"
            )


@dataclass(frozen=True)
class PreparedTask:
    """A task with its queries, pool and relevance.

    Attributes:
        index: the index under evaluation.
        task: query and target modality.
        query_assets: all assets of the query modality.
        query_rows: (q,) int64, the rows of ``query_assets`` that are queries.
        pool_assets: all assets of the target modality, or all items.
        pool_rows: (n,) int64, the rows of ``pool_assets`` that are searched.
        relevance: of shape (q, n).
        missing: judged queries that the index does not hold, with the gains of their relevant assets.
        hubness: the correction of scores.
        item_pool: the pool's items if the target is whole items.
    """

    index: IndexReader
    task: Task
    query_assets: Assets
    query_rows: Integers
    pool_assets: Assets
    pool_rows: Integers
    relevance: Relevance
    missing: Mapping[str, Values] = field(default_factory=dict)
    hubness: str = score_correction.NO_CORRECTION
    item_pool: ItemPool | None = None

    @property
    def query_names(self) -> list[str]:
        """Names of the queries, followed by those of the missing queries."""
        names = self.query_assets.names
        return [*(names[row] for row in self.query_rows.tolist()), *self.missing]

    @property
    def pool_names(self) -> list[str]:
        """Names of the pool's assets."""
        return [self.pool_assets.names[row] for row in self.pool_rows.tolist()]

    def vectors(self) -> tuple[Matrix, Matrix]:
        """Return (q, d) and (n, d) float32 whose inner products are the scores, corrected if ``hubness`` says so."""
        queries, gallery = self._query_vectors(self.query_rows), self._pool_vectors(self.pool_rows)
        if self.hubness == score_correction.NO_CORRECTION:
            return queries, gallery
        bank = score_correction.QueryBank(
            self._query_vectors(_bank_rows(self.query_assets)),
            self._pool_vectors(_bank_rows(self.pool_assets)),
        )
        return score_correction.CORRECTIONS[self.hubness](queries, gallery, bank)

    def _query_vectors(self, rows: Integers) -> Matrix:
        vectors = self.index.modality_index(self.task.query).index.vectors(rows)
        return self.item_pool.query_vectors(vectors) if self.item_pool else vectors

    def _pool_vectors(self, rows: Integers) -> Matrix:
        if self.item_pool:
            return self.item_pool.vectors(rows)
        return self.index.modality_index(self.task.target).index.vectors(rows)


def _bank_rows(assets: Assets) -> Integers:
    """Return the rows that corrections are fitted to: those not held out, or all if that leaves none."""
    table = assets.table
    fitting = table.whole & ~table.held_out
    return np.flatnonzero(fitting if fitting.any() else table.whole).astype(np.int64)


class TaskPreparer:
    """Prepares tasks of one index with one set of options, and caches what they share."""

    def __init__(
        self, index: IndexReader, options: EvaluationOptions, fusion: FittedFusion | None = None
    ) -> None:
        """Read what all tasks share.

        Args:
            index: the index to evaluate.
            options: queries, pool and relevance.
            fusion: makes one vector of each item; the index's own when None.

        Raises:
            ExpressionError: the relevance names no column of the index.
            SourceError: the judgements cannot be read.
        """
        self.index = index
        self.options = options
        self._fusion = fusion
        self._assets: dict[Modality, Assets] = {}
        self._judgements = trec.read_qrels(options.qrels) if options.qrels else {}
        by_item = options.relevance == ITEM
        self._column_values = {} if by_item else index.catalog.labels(options.relevance)

    def prepare(self, tasks: Sequence[Task]) -> tuple[list[PreparedTask], EvaluationOptions]:
        """Return the prepared tasks, and the options with split and pool filled in.

        Raises:
            OptionError: the index lacks a modality, or there are no queries or no pool.
            ExpressionError: ``where`` does not parse, or names a column that does not exist.
        """
        for task in tasks:
            targets = self.index.modalities if task.target == ITEM else [task.target]
            for modality in (task.query, *targets):
                if modality not in self._assets:
                    self._assets[modality] = Assets.load(self.index, modality)
        has_holdout = any(assets.table.held_out.any() for assets in self._assets.values())
        split = self.options.split or (HOLDOUT if has_holdout else ALL)
        pool = self.options.pool or split
        options = replace(self.options, split=split, pool=pool)
        return [self._prepare(task, split, pool) for task in tasks], options

    def _prepare(self, task: Task, split: str, pool: str) -> PreparedTask:
        captions, item_pool = self.options.captions, None
        query_assets = self._assets[task.query]
        if task.target == ITEM:
            fusion = self._fusion or self.index.fusion
            item_pool = ItemPool.build(self.index, self._assets, task.query, fusion, captions)
            pool_assets = item_pool.assets
        else:
            pool_assets = self._assets[task.target]
        query_rows = query_assets.select_rows(held_out_only=split == HOLDOUT, captions=captions)
        pool_rows = pool_assets.select_rows(held_out_only=pool == HOLDOUT, captions=captions)
        if self.options.where is not None:
            matching = self.index.catalog.matching(self.options.where, task.target)
            pool_rows = pool_rows[np.isin(pool_assets.table.assets[pool_rows], matching)]
        if not len(query_rows) or not len(pool_rows):
            filtered = "" if self.options.where is None else f" where {self.options.where}"
            raise OptionError(
                f"{task} has {len(query_rows)} queries in split {split!r} and {len(pool_rows)} assets in pool "
                f"{pool!r}{filtered}: choose another split, pool or filter, or index with --holdout"
            )
        self_rows = _positions_in(query_rows, pool_rows) if task.query is task.target else None
        relevance: Relevance
        missing: dict[str, Values] = {}
        if self.options.qrels is not None:
            relevance, missing = self._judged_relevance(
                query_assets, query_rows, pool_assets, pool_rows, self_rows
            )
        else:
            relevance = SameLabel(
                self._labels(query_assets)[query_rows], self._labels(pool_assets)[pool_rows], self_rows
            )
        return PreparedTask(
            index=self.index,
            task=task,
            query_assets=query_assets,
            query_rows=query_rows,
            pool_assets=pool_assets,
            pool_rows=pool_rows,
            relevance=relevance,
            missing=missing,
            hubness=self.options.hubness,
            item_pool=item_pool,
        )

    def _labels(self, assets: Assets) -> Integers:
        """Return the label of each asset, (n,) int64: equal labels are relevant to each other, -1 to nothing."""
        if self.options.relevance == ITEM:
            return assets.table.items
        codes: dict[MetadataValue, int] = {}
        labels = {item: codes.setdefault(value, len(codes)) for item, value in self._column_values.items()}
        return np.array([labels.get(item, -1) for item in assets.table.items.tolist()], np.int64)

    def _judged_relevance(
        self,
        query_assets: Assets,
        query_rows: Integers,
        pool_assets: Assets,
        pool_rows: Integers,
        self_rows: Integers | None,
    ) -> tuple[Qrels, dict[str, Values]]:
        """Return the judgements of this task, and the gains of judged queries that the index does not hold.

        A query or asset of the index that is outside the split or pool is left out. One that the index does not hold
        counts, as not retrieved.
        """
        query_number = {row: number for number, row in enumerate(query_rows.tolist())}
        pool_column = {row: column for column, row in enumerate(pool_rows.tolist())}
        triples: list[tuple[int, int, float]] = []
        missing: dict[str, Values] = {}
        for name, gains in self._judgements.items():
            rows = query_assets.rows_named(name)
            pairs = [
                (column, float(gain))
                for asset, gain in gains.items()
                if gain > 0
                for column in [pool_column.get(row) for row in pool_assets.rows_named(asset)] or [-1]
                if column is not None
            ]
            numbers = [query_number[row] for row in rows if row in query_number]
            triples += [(number, column, gain) for number in numbers for column, gain in pairs]
            if not rows and pairs:
                missing[name] = np.array([gain for _, gain in pairs])
        table = np.array(triples, dtype=np.float64).reshape(-1, 3)
        judged = RelevancePairs(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2])
        return Qrels(judged, (len(query_rows), len(pool_rows)), self_rows), missing


def _positions_in(query_rows: Integers, pool_rows: Integers) -> Integers:
    """Return the position of each query row among the pool rows, (q,) int64; -1 if it is not there."""
    positions = np.searchsorted(pool_rows, query_rows)
    inside = np.minimum(positions, len(pool_rows) - 1)
    return np.where(pool_rows[inside] == query_rows, inside, -1)
