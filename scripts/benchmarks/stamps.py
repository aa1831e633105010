"""Measure how well texts find images and images texts: the figures of the README, over several held-out thirds.

Usage: python scripts/benchmarks/stamps.py [INDEX] [--seeds 0 1 2] [--align METHOD ...]

INDEX is the index that scripts/demo made. A copy of it is fitted again for every seed and method, on the items that
the seed does not hold out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean

import _fitted

import indexer
import retrieval

TASKS = ("text-to-image", "image-to-text")
MEASURES = ("hit@1", "hit@10", "mrr", "median_rank")


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table with one row for each method and task: means over seeds."""
    parser = _fitted.options(__doc__)
    parser.add_argument("--align", nargs="+", default=["conse", "cca", "auto"])
    options = parser.parse_args(argv)
    print(f"{datetime.now(UTC):%Y-%m-%d}, {options.index}, held out {options.holdout}, seeds {options.seeds}")
    print(f"{'method':8}  {'task':13}  {'queries':>7}  " + "  ".join(f"{name:>11}" for name in MEASURES))
    with _fitted.copied(options.index) as copy:
        for method in options.align:
            figures = [_evaluate(copy, method, seed, options.holdout) for seed in options.seeds]
            for task in TASKS:
                values = [
                    mean(float(each[task][name] or 0) for each in figures) for name in ("queries", *MEASURES)
                ]
                shown = "  ".join(f"{value:11.3f}" for value in values[1:])
                print(f"{method:8}  {task:13}  {values[0]:7.0f}  {shown}")


def _evaluate(
    index: Path, method: str, seed: int, holdout: float
) -> dict[str, dict[str, int | float | None]]:
    indexer.realign(index, align=method, seed=seed, holdout=holdout)
    result = retrieval.evaluate(retrieval.open(index), TASKS)
    return {task: dict(figures) for task, figures in result.tasks.items()}


if __name__ == "__main__":
    main()
