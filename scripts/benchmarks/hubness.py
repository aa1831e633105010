"""Measure what hub corrections of scores gain: the figures of docs/alignment.md, over several held-out thirds.

Usage: python scripts/benchmarks/hubness.py [INDEX] [--seeds 0 1 2] [--align METHOD] [--tasks A-to-B ...]

INDEX is the index that scripts/demo made. A copy of it is fitted again for every seed, on the items that the seed does
not hold out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import mean

import _fitted

import indexer
import retrieval
from retrieval.evaluation.bootstrap import Resampling
from retrieval.evaluation.score_correction import CORRECTIONS, NO_CORRECTION

MEASURES = ("hit@1", "hit@10", "map")


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table with one row for each task and correction: means over seeds."""
    parser = _fitted.options(__doc__)
    parser.add_argument("--align", default="auto")
    parser.add_argument("--tasks", nargs="+", default=["text-to-image", "image-to-text"])
    options = parser.parse_args(argv)
    figures: dict[tuple[str, str], list[list[float]]] = {}
    with _fitted.copied(options.index) as copy:
        for seed in options.seeds:
            indexer.realign(copy, align=options.align, seed=seed, holdout=options.holdout)
            engine = retrieval.open(copy)
            for name in (NO_CORRECTION, *CORRECTIONS):
                results = retrieval.evaluate(
                    engine, options.tasks, hubness=name, resampling=Resampling(0)
                ).tasks
                for task in options.tasks:
                    row = [float(results[task][measure] or 0) for measure in MEASURES]
                    figures.setdefault((task, name), []).append(row)
    seeds = " ".join(map(str, options.seeds))
    print(f"{datetime.now(UTC):%Y-%m-%d}, {options.index.name}, {options.align}, seeds {seeds}")
    print(f"| task | scores | {' | '.join(MEASURES)} |")
    print("| --- " * (2 + len(MEASURES)) + "|")
    for (task, name), rows in sorted(figures.items(), key=lambda entry: entry[0][0]):
        means = " | ".join(f"{mean(column):.3f}" for column in zip(*rows, strict=True))
        print(f"| {task} | {name} | {means} |")


if __name__ == "__main__":
    main()
