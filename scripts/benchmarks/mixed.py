"""Measure whether mixed result lists favour some modalities, before and after calibrating scores.

Usage: python scripts/benchmarks/mixed.py [INDEX] [-k 10] [--queries 400] [--seed 0]

Queries are assets of the index, the held-out ones if there are any; the gallery is all other assets (--to any). The
table compares each modality's share of the first k results with its share of the index, counting relevant and
irrelevant assets alike. It also shows the quality of the lists: the share of them with another asset of the query's
own item.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import retrieval
from retrieval import Query, SearchEngine
from retrieval.search.calibration import BACKGROUND
from retrieval.types import Hit, Modality, Term


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table with a row for each query modality and a column for each result modality."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("index", nargs="?", type=Path, default=Path("demo/index"))
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument(
        "--queries", type=int, default=400, help="random queries of each modality (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    after, before = retrieval.open(options.index), retrieval.open(options.index)
    for entry in before.manifest.indexes.values():
        entry.pop(BACKGROUND, None)  # type: ignore[attr-defined]
    print(f"{datetime.now(UTC):%Y-%m-%d}, {options.index}, k {options.k}, seed {options.seed}")
    print(
        "| query modality | scores | queries | own item in the first k | " + " | ".join(_share(after)) + " |"
    )
    print("| --- " * (4 + len(after.modalities)) + "|")
    for modality in after.modalities:
        queries, query_assets = _queries(after, modality, options.queries, options.seed)
        for name, engine in (("raw", before), ("calibrated", after)):
            results = engine.search_batch(queries, to="any", k=options.k + 1)
            print(_row(modality, name, results, query_assets, options.k, after.modalities))


def _queries(
    engine: SearchEngine, modality: Modality, count: int, seed: int
) -> tuple[list[Query], list[tuple[int, str]]]:
    """Draw whole assets as queries by vector; return the queries, and the number and item id of each asset."""
    table, modality_index = engine.index.table(modality), engine.index.modality_index(modality)
    # Items with more than one asset, so that there is something else to find.
    _, items = np.concatenate(
        [
            np.stack([each.assets, each.items])[:, each.whole]
            for each in map(engine.index.table, engine.modalities)
        ],
        axis=1,
    )
    several = np.unique(items)[np.unique(items, return_counts=True)[1] > 1]
    chosen = table.whole & np.isin(table.items, several)
    if table.held_out[chosen].any():
        chosen &= table.held_out
    rows = np.flatnonzero(chosen)
    rows = np.sort(np.random.default_rng(seed).choice(rows, min(count, len(rows)), replace=False))
    numbers = table.assets[rows].tolist()
    records = engine.index.catalog.records(numbers)
    vectors = modality_index.index.vectors(rows)
    queries = [Query(vector=Term("vector", vector, of=modality)) for vector in vectors]
    return queries, [(number, records[number].item) for number in numbers]


def _row(
    modality: Modality,
    name: str,
    results: Sequence[Sequence[Hit]],
    query_assets: Sequence[tuple[int, str]],
    k: int,
    targets: Sequence[Modality],
) -> str:
    # Leave out the query asset, which finds itself.
    lists: list[Any] = [
        [hit for hit in hits if hit.asset != number][:k]
        for hits, (number, _) in zip(results, query_assets, strict=True)
    ]
    own_item = np.mean(
        [any(hit.id == item for hit in hits) for hits, (_, item) in zip(lists, query_assets, strict=True)]
    )
    counts = Counter(hit.modality for hits in lists for hit in hits)
    shares = " | ".join(f"{counts[target] / counts.total():.3f}" for target in targets)
    return f"| {modality} | {name} | {len(query_assets)} | {own_item:.3f} | {shares} |"


def _share(engine: SearchEngine) -> list[str]:
    counts = {modality: int(engine.index.table(modality).whole.sum()) for modality in engine.modalities}
    return [f"{modality} ({count / sum(counts.values()):.3f})" for modality, count in counts.items()]


if __name__ == "__main__":
    main()
