"""Whether a modality is favoured in mixed lists for being what it is, before and after calibrating scores.

Usage: python scripts/benchmarks/mixed.py [INDEX] [-k 10] [--queries 400] [--seed 0]

Assets of the index, those held out where there are any, ask for everything else that it has (--to any). Each
modality's share of the first k is set beside its share of the index, for relevant and irrelevant assets alike, and
the quality of the list beside that: among how many of the lists is another asset of the query's own item.
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
    """Print a table: modalities that ask by modalities that are found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("index", nargs="?", type=Path, default=Path("demo/index"))
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--queries", type=int, default=400, help="of each modality, drawn (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    after, before = retrieval.open(options.index), retrieval.open(options.index)
    for entry in before.manifest.indexes.values():
        entry.pop(BACKGROUND, None)  # type: ignore[attr-defined]
    print(f"{datetime.now(UTC):%Y-%m-%d}, {options.index}, k {options.k}, seed {options.seed}")
    print("| asked by | scores | queries | own item in the first k | " + " | ".join(_share(after)) + " |")
    print("| --- " * (4 + len(after.modalities)) + "|")
    for modality in after.modalities:
        queries, items = _queries(after, modality, options.queries, options.seed)
        for name, engine in (("raw", before), ("calibrated", after)):
            found = engine.search_batch(queries, to="any", k=options.k + 1)
            print(_row(modality, name, found, items, options.k, after.modalities))


def _queries(
    engine: SearchEngine, modality: Modality, count: int, seed: int
) -> tuple[list[Query], list[tuple[int, str]]]:
    """Whole assets that ask by their vectors, and the number and the item of each."""
    table, modality_index = engine.index.table(modality), engine.index.modality_index(modality)
    # Items with something else to be found.
    _, items = np.concatenate(
        [
            np.stack([own.assets, own.items])[:, own.whole]
            for own in map(engine.index.table, engine.modalities)
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
    found: Sequence[Sequence[Hit]],
    asked: Sequence[tuple[int, str]],
    k: int,
    targets: Sequence[Modality],
) -> str:
    # Without the asset that asks, which finds itself.
    lists: list[Any] = [
        [hit for hit in hits if hit.asset != number][:k]
        for hits, (number, _) in zip(found, asked, strict=True)
    ]
    own = np.mean([any(hit.id == item for hit in hits) for hits, (_, item) in zip(lists, asked, strict=True)])
    counts = Counter(hit.modality for hits in lists for hit in hits)
    shares = " | ".join(f"{counts[target] / counts.total():.3f}" for target in targets)
    return f"| {modality} | {name} | {len(asked)} | {own:.3f} | {shares} |"


def _share(engine: SearchEngine) -> list[str]:
    counts = {modality: int(engine.index.table(modality).whole.sum()) for modality in engine.modalities}
    return [f"{modality} ({count / sum(counts.values()):.3f})" for modality, count in counts.items()]


if __name__ == "__main__":
    main()
