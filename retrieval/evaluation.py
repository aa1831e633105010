"""Batch evaluation of a published index: which queries, which pool, what is relevant, and the figures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.catalog import AssetTable
from retrieval.engine import SearchEngine
from retrieval.errors import OptionError
from retrieval.metrics import standard_measures, summarise
from retrieval.ranking import relevant_ranks
from retrieval.types import Integers, Modality

Figures = Mapping[str, int | float | None]

HOLDOUT, ALL = SPLITS = ("holdout", "all")
ITEM = "item"


@dataclass(frozen=True, slots=True)
class Task:
    """Queries of one modality against a pool of another. Its text parses back: ``text-to-image``."""

    query: Modality
    target: Modality

    def __str__(self) -> str:
        return f"{self.query}-to-{self.target}"

    @classmethod
    def parse(cls, text: str) -> Task:
        """The task called ``text``.

        Raises:
            OptionError: it is not two modalities joined by ``-to-``.
        """
        match = re.fullmatch(r"(\w+)-to-(\w+)", text)
        if match is None:
            raise OptionError(f"unknown task {text!r}: expected A-to-B, such as text-to-image")
        return cls(Modality.parse(match[1]), Modality.parse(match[2]))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures, and the protocol without which they mean nothing.

    Attributes:
        protocol: ``split``, ``pool``, ``relevance``, ``exact``, ``ties``, ``holdout``, ``seed``, ``index``
            (generation and fingerprints) and ``version``.
        tasks: by task, ``queries`` and ``pool`` (how many), ``queries_without_relevant`` (left out of the
            averages) and each measure.
    """

    protocol: Mapping[str, Any]
    tasks: Mapping[str, Figures]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as ``xmodal evaluate --json`` prints them."""
        return asdict(self)


def evaluate(
    engine: SearchEngine,
    tasks: Sequence[str] | None = None,
    ks: Sequence[int] = (1, 5, 10),
    *,
    relevance: str = ITEM,
    split: str | None = None,
    pool: str | None = None,
    exact: bool = False,  # noqa: ARG001 - every kind of index there is so far is exact
) -> Evaluation:
    """Ask the index with its own assets and measure what comes back.

    A task's queries are the assets of one modality, as they are stored, and the pool those of another. Ties
    are broken by item id. When both modalities are the same, an asset is not in its own pool.

    Args:
        engine: an open index.
        tasks: ``A-to-B``, or when None every pair of different modalities that the index has.
        ks: cut-offs of ``hit@k`` and ``recall@k``.
        relevance: ``"item"``: the same item is relevant; or a metadata column: any item with the same value.
        split: whose assets ask: ``"holdout"`` or ``"all"``; None is the holdout where there is one.
        pool: whose assets are searched; None is as the split.
        exact: skip an approximate index.

    Raises:
        OptionError: an unknown task or split, a cut-off below 1, no assets to ask with or for.
        ExpressionError: ``relevance`` is no column of the index.
    """
    chosen = _tasks(engine, tasks)
    measures = standard_measures(ks)
    tables = {
        modality: engine.table(modality) for modality in {m for t in chosen for m in (t.query, t.target)}
    }
    split = _split("split", split, default=HOLDOUT if any(t.held_out.any() for t in tables.values()) else ALL)
    pool = _split("pool", pool, default=split)
    labels = _labels(engine, relevance, tables)
    figures: dict[str, Figures] = {}
    for task in chosen:
        asking, asked = (_rows(tables[task.query], split), _rows(tables[task.target], pool))
        if not len(asking) or not len(asked):
            raise OptionError(
                f"{task} has {len(asking)} queries in split {split!r} and {len(asked)} assets in pool "
                f"{pool!r}: choose others, or index with --holdout"
            )
        ranks = relevant_ranks(
            engine.shelf(task.query).index.vectors(asking),
            engine.shelf(task.target).index.vectors(asked),
            labels[task.query][asking],
            labels[task.target][asked],
            query_rows=_positions(asking, asked) if task.query is task.target else None,
        )
        summary = summarise(ranks, measures)
        figures[str(task)] = {"queries": summary.pop("queries"), "pool": len(asked), **summary}
    return Evaluation(_protocol(engine, split, pool, relevance), figures)


def _tasks(engine: SearchEngine, names: Sequence[str] | None) -> list[Task]:
    if names:
        return [Task.parse(name) for name in names]
    pairs = [Task(a, b) for a in engine.modalities for b in engine.modalities if a is not b]
    if not pairs:
        held = ", ".join(engine.modalities) or "nothing"
        raise OptionError(f"there is no pair of modalities to evaluate: the index holds {held}")
    return pairs


def _split(option: str, name: str | None, *, default: str) -> str:
    if name is not None and name not in SPLITS:
        raise OptionError(f"unknown {option} {name!r}: expected one of {', '.join(SPLITS)}")
    return name or default


def _rows(table: AssetTable, split: str) -> Integers:
    """The assets of the split that are no segments: whole media are asked with and for."""
    chosen = table.whole & table.held_out if split == HOLDOUT else table.whole
    return np.flatnonzero(chosen).astype(np.int64)


def _labels(
    engine: SearchEngine, relevance: str, tables: Mapping[Modality, AssetTable]
) -> dict[Modality, NDArray[np.int64]]:
    """By modality, (n,) int64: assets with the same label are relevant to each other, -1 is to none."""
    if relevance == ITEM:
        return {modality: table.items for modality, table in tables.items()}
    values = engine.catalog.labels(relevance)
    codes = {value: code for code, value in enumerate(dict.fromkeys(values.values()))}
    numbers = {item: codes[value] for item, value in values.items()}
    return {
        modality: np.array([numbers.get(item, -1) for item in table.items.tolist()], np.int64)
        for modality, table in tables.items()
    }


def _positions(asking: Integers, asked: Integers) -> Integers:
    """(q,) int64: where each row that asks stands among those asked, -1 if it does not."""
    places = np.searchsorted(asked, asking)
    inside = np.minimum(places, len(asked) - 1)
    return np.where(asked[inside] == asking, inside, -1)


def _protocol(engine: SearchEngine, split: str, pool: str, relevance: str) -> dict[str, Any]:
    manifest = engine.manifest
    return {
        "split": split,
        "pool": pool,
        "relevance": relevance,
        "exact": True,
        "ties": "id",
        "holdout": manifest.settings["holdout"],
        "seed": manifest.settings["seed"],
        "index": {
            "generation": manifest.generation,
            "encoders": {str(modality): spec.fingerprint for modality, spec in manifest.encoders.items()},
            "alignment": manifest.alignment["fingerprint"],
            "kinds": {str(modality): entry["kind"] for modality, entry in manifest.indexes.items()},
        },
        "version": version("xmodal"),
    }
