"""One task made ready: which assets ask, which are searched, and what is relevant to which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from retrieval.errors import OptionError
from retrieval.evaluation import score_correction, trec
from retrieval.evaluation.assets import Assets
from retrieval.evaluation.item_pool import ItemPool
from retrieval.evaluation.metrics import Values
from retrieval.evaluation.relevance import Qrels, Relevance, RelevancePairs, SameLabel
from retrieval.evaluation.task import Task
from retrieval.fusion.fitted import FittedFusion
from retrieval.search.index_reader import IndexReader
from retrieval.types import ITEM, Integers, Matrix, MetadataValue, Modality
from retrieval.validation import known

HOLDOUT, ALL = SPLITS = ("holdout", "all")
QRELS = "qrels"


@dataclass(frozen=True, slots=True)
class Rules:
    """Who asks, who is searched, and what is relevant.

    Attributes:
        split: whose assets ask: ``"holdout"`` or ``"all"``; None is the holdout where there is one.
        pool: whose assets are searched; None is as the split.
        relevance: ``"item"``: the same item is relevant; or a metadata column: any item with the same value.
        qrels: a TREC file of judgements, which are then what is relevant.
        captions: of each item the first so many are taken; all when None.
        where: an expression that narrows the pool.
        hubness: how scores are corrected, of ``retrieval.evaluation.score_correction.CORRECTIONS``; or ``"none"``.
    """

    split: str | None = None
    pool: str | None = None
    relevance: str = ITEM
    qrels: Path | None = None
    captions: int | None = None
    where: str | None = None
    hubness: str = score_correction.NONE

    def __post_init__(self) -> None:
        score_correction.check_correction(self.hubness)
        for option, name in (("split", self.split), ("pool", self.pool)):
            if name is not None:
                known(option, name, SPLITS)
        if self.captions is not None and self.captions < 1:
            raise OptionError(f"captions must be at least 1, not {self.captions}")
        if self.qrels is not None and self.relevance != ITEM:
            raise OptionError(f"give judgements or the column {self.relevance!r} as relevance, not both")


@dataclass(frozen=True)
class PreparedTask:
    """A task with its queries, pool and relevance.

    Attributes:
        task: what asks for what.
        queries: all assets of the query's modality, and ``asking``, (q,) int64, the rows of those that ask.
        pool: all assets of the target's modality, or all items, and ``asked``, (n,) int64, the rows of those searched.
        relevance: of shape (q, n).
        missing: judged queries that the index does not hold, with the gains of their relevant assets.
        hubness: how scores are corrected.
        wholes: the pool's items, where whole items are asked for.
    """

    index: IndexReader
    task: Task
    queries: Assets
    asking: Integers
    pool: Assets
    asked: Integers
    relevance: Relevance
    missing: Mapping[str, Values] = field(default_factory=dict)
    hubness: str = score_correction.NONE
    item_pool: ItemPool | None = None

    @property
    def query_names(self) -> list[str]:
        """Of those that ask, and behind them of those that are missing."""
        names = self.queries.names
        return [*(names[row] for row in self.asking.tolist()), *self.missing]

    @property
    def pool_names(self) -> list[str]:
        """Of those that are searched."""
        return [self.pool.names[row] for row in self.asked.tolist()]

    def vectors(self) -> tuple[Matrix, Matrix]:
        """(q, d) and (n, d) float32 whose inner products are the scores, corrected if that is asked for."""
        queries, gallery = self._asking(self.asking), self._searched(self.asked)
        if self.hubness == score_correction.NONE:
            return queries, gallery
        bank = score_correction.Bank(self._asking(_banked(self.queries)), self._searched(_banked(self.pool)))
        return score_correction.CORRECTIONS[self.hubness](queries, gallery, bank)

    def _asking(self, rows: Integers) -> Matrix:
        vectors = self.index.modality_index(self.task.query).index.vectors(rows)
        return self.item_pool.asking(vectors) if self.item_pool else vectors

    def _searched(self, rows: Integers) -> Matrix:
        if self.item_pool:
            return self.item_pool.vectors(rows)
        return self.index.modality_index(self.task.target).index.vectors(rows)


def _banked(assets: Assets) -> Integers:
    """Rows that corrections may be learned from: those not held out, or all where none or everything is."""
    table = assets.table
    kept = table.whole & ~table.held_out
    return np.flatnonzero(kept if kept.any() else table.whole).astype(np.int64)


class TaskPreparer:
    """Makes trials of one index by one set of rules, and keeps what they share."""

    def __init__(self, index: IndexReader, rules: Rules, fusion: FittedFusion | None = None) -> None:
        """Take the rules, and how items become one vector each where not as in the index.

        Raises:
            ExpressionError: the relevance names no column of the index.
            SourceError: the judgements cannot be read.
        """
        self.index = index
        self.rules = rules
        self._fusion = fusion
        self._assets: dict[Modality, Assets] = {}
        self._judged = trec.read_qrels(rules.qrels) if rules.qrels else {}
        by_item = rules.relevance == ITEM
        self._values = {} if by_item else index.catalog.labels(rules.relevance)

    def of(self, tasks: Sequence[Task]) -> tuple[list[PreparedTask], Rules]:
        """The trials of some tasks, and the rules with what was left open filled in.

        Raises:
            OptionError: the index lacks a modality, or there are no assets to ask with or for.
            ExpressionError: ``where`` does not parse, or names a column there is not.
        """
        for task in tasks:
            others = self.index.modalities if task.target == ITEM else [task.target]
            for modality in (task.query, *others):
                if modality not in self._assets:
                    self._assets[modality] = Assets.of(self.index, modality)
        kept_back = any(assets.table.held_out.any() for assets in self._assets.values())
        split = self.rules.split or (HOLDOUT if kept_back else ALL)
        pool = self.rules.pool or split
        rules = replace(self.rules, split=split, pool=pool)
        return [self._prepare(task, split, pool) for task in tasks], rules

    def _prepare(self, task: Task, split: str, pool: str) -> PreparedTask:
        captions, item_pool = self.rules.captions, None
        queries = self._assets[task.query]
        if task.target == ITEM:
            fusion = self._fusion or self.index.fusion
            item_pool = ItemPool.of(self.index, self._assets, task.query, fusion, captions)
            targets = item_pool.assets
        else:
            targets = self._assets[task.target]
        asking = queries.chosen(held_out_only=split == HOLDOUT, captions=captions)
        asked = targets.chosen(held_out_only=pool == HOLDOUT, captions=captions)
        if self.rules.where is not None:
            matching = self.index.catalog.matching(self.rules.where, task.target)
            asked = asked[np.isin(targets.table.assets[asked], matching)]
        if not len(asking) or not len(asked):
            narrowed = "" if self.rules.where is None else f" where {self.rules.where}"
            raise OptionError(
                f"{task} has {len(asking)} queries in split {split!r} and {len(asked)} assets in pool "
                f"{pool!r}{narrowed}: choose others, or index with --holdout"
            )
        selves = _positions(asking, asked) if task.query is task.target else None
        relevance: Relevance
        missing: dict[str, Values] = {}
        if self.rules.qrels is not None:
            relevance, missing = self._judgements(queries, asking, targets, asked, selves)
        else:
            relevance = SameLabel(self._labels(queries)[asking], self._labels(targets)[asked], selves)
        return PreparedTask(
            self.index,
            task,
            queries,
            asking,
            targets,
            asked,
            relevance,
            missing,
            self.rules.hubness,
            item_pool,
        )

    def _labels(self, assets: Assets) -> Integers:
        """(n,) int64: assets with the same label are relevant to each other, -1 is to none."""
        if self.rules.relevance == ITEM:
            return assets.table.items
        codes: dict[MetadataValue, int] = {}
        numbers = {item: codes.setdefault(value, len(codes)) for item, value in self._values.items()}
        return np.array([numbers.get(item, -1) for item in assets.table.items.tolist()], np.int64)

    def _judgements(
        self, queries: Assets, asking: Integers, targets: Assets, asked: Integers, selves: Integers | None
    ) -> tuple[Qrels, dict[str, Values]]:
        """What the file says of this trial.

        A query or asset of the index that is outside the split or pool is left out; one that the index does
        not hold counts, as never found.
        """
        query_at = {row: at for at, row in enumerate(asking.tolist())}
        asset_at = {row: at for at, row in enumerate(asked.tolist())}
        triples: list[tuple[int, int, float]] = []
        missing: dict[str, Values] = {}
        for name, judged in self._judged.items():
            rows = queries.rows_of(name)
            pairs = [
                (column, float(gain))
                for asset, gain in judged.items()
                if gain > 0
                for column in [asset_at.get(row) for row in targets.rows_of(asset)] or [-1]
                if column is not None
            ]
            owners = [query_at[row] for row in rows if row in query_at]
            triples += [(owner, column, gain) for owner in owners for column, gain in pairs]
            if not rows and pairs:
                missing[name] = np.array([gain for _, gain in pairs])
        table = np.array(triples, dtype=np.float64).reshape(-1, 3)
        found = RelevancePairs(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2])
        return Qrels(found, (len(asking), len(asked)), selves), missing


def _positions(asking: Integers, asked: Integers) -> Integers:
    """(q,) int64: where each row that asks stands among those asked, -1 if it does not."""
    places = np.searchsorted(asked, asking)
    inside = np.minimum(places, len(asked) - 1)
    return np.where(asked[inside] == asking, inside, -1)
