"""Compare all alignment methods and fusions on the stored features of one index; nothing is encoded.

For every method, seed and holdout, a copy of the index is fitted again on the items that are not held out. Queries are
the held-out assets of one modality. The gallery is the assets of another modality, or items: there a fusion makes one
vector of each item's assets of the other modalities (``xmodal evaluate --task A-to-item``). The printed Markdown table
shows means over seeds and holdouts. Its intervals are bootstrapped from the queries of all seeds and holdouts together.

With --keep every result (one method, seed and holdout) is appended to a file, together with its options and its index.
A later run reuses the results with the same options and index and ignores the others, so an interrupted run can be
continued. Changes of the code are not detected: use another file after them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import indexer
import retrieval
from retrieval import SearchEngine
from retrieval.alignment.methods import registry as alignments
from retrieval.errors import AlignmentError
from retrieval.evaluation import bootstrap
from retrieval.evaluation.bootstrap import Resampling
from retrieval.evaluation.evaluate import TaskResult
from retrieval.evaluation.metrics import Measure, Values
from retrieval.evaluation.prepared_task import HOLDOUT
from retrieval.fusion import registry as fusions
from retrieval.fusion.base import Parts
from retrieval.fusion.stored_fusion import FittedFusion
from retrieval.storage.catalog import AssetTable
from retrieval.storage.manifest import Manifest
from retrieval.types import ITEM, Integers, Matrix, Modality

HIT, MAP = Measure("hit", 10), Measure("map")
NO_FUSION = "none"

Figures = dict[tuple[str, str, str], list[dict[Measure, Values]]]
"""The values of the queries by method, fusion and task; one list entry for each seed and holdout."""

Costs = dict[tuple[str, str], list[tuple[float, int]]]
"""Seconds of the fit and bytes of its result by method and fusion; one list entry for each seed and holdout."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        prog="compare_alignment", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("index", nargs="?", type=Path, default=Path("demo/index"), help="(%(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(%(default)s)")
    parser.add_argument(
        "--holdout", nargs="+", default=["0.33"], help="a fraction, or metadata expressions (0.33)"
    )
    parser.add_argument(
        "--align",
        nargs="+",
        default=list(alignments.METHODS),
        choices=alignments.METHODS,
        help="default: all",
    )
    parser.add_argument(
        "--fuse", nargs="*", default=list(fusions.METHODS), choices=fusions.METHODS, help="default: all"
    )
    parser.add_argument("--relevance", metavar="COLUMN", help="items with the same value are relevant")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="JSON Lines file to reuse and to append to")
    parser.add_argument("--tasks", nargs="+", metavar="A-to-B", help="B may be item; default: all")
    parser.add_argument("--wide", action="store_true", help="print one row for each method")
    options = parser.parse_args(argv)
    manifest = retrieval.open(options.index).manifest  # reports an unusable index
    conditions = {holdout: _conditions(options, holdout, manifest) for holdout in options.holdout}
    figures: Figures = {}
    costs: Costs = {}
    done = {
        (*measured, holdout)
        for holdout in options.holdout
        for measured in _reuse(
            options.keep,
            conditions=conditions[holdout],
            methods=options.align,
            seeds=options.seeds,
            figures=figures,
            costs=costs,
        )
    }
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "index"
        shutil.copytree(options.index, copy)
        for method in options.align:
            for seed, holdout in product(options.seeds, options.holdout):
                if (method, seed, holdout) in done:
                    continue
                try:
                    new_figures, new_costs = _compare(copy, method, seed, holdout, options)
                    _add(figures, costs, new_figures, new_costs)
                    _append(
                        options.keep,
                        conditions=conditions[holdout],
                        method=method,
                        seed=seed,
                        figures=new_figures,
                        costs=new_costs,
                    )
                except AlignmentError as error:
                    print(f"{method}: {error}", file=sys.stderr)
                    break
    seeds = " ".join(map(str, options.seeds))
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {options.index.name}, held out {'; '.join(options.holdout)}, seeds {seeds}"
    )
    shown = {
        (method, fusion, task): runs_with_queries
        for (method, fusion, task), runs in sorted(
            figures.items(), key=lambda entry: options.align.index(entry[0][0])
        )
        if (not options.tasks or task in options.tasks)
        and (runs_with_queries := [values for values in runs if len(values[HIT])])
    }
    print("\n".join((_wide if options.wide else _long)(shown, costs)))


def _compare(
    index: Path,
    method: str,
    seed: int,
    holdout: str,
    options: argparse.Namespace,
) -> tuple[Figures, Costs]:
    """Fit one method and all fusions on top of it; return their figures and costs."""
    start = time.perf_counter()
    fraction_or_expression = float(holdout) if holdout.replace(".", "", 1).isdigit() else holdout
    indexer.realign(index, align=method, seed=seed, holdout=fraction_or_expression)
    seconds = time.perf_counter() - start
    engine = retrieval.open(index)
    file = next((index / "generations").glob(f"{engine.manifest.generation:06d}/alignment.safetensors"))
    costs: Costs = {(method, NO_FUSION): [(seconds, file.stat().st_size)]}
    tables = {modality: engine.index.table(modality) for modality in engine.modalities}
    held_out = [modality for modality, table in tables.items() if (table.whole & table.held_out).any()]
    if len(held_out) < 2:
        return {}, costs
    rules: dict[str, Any] = {"relevance": options.relevance or ITEM, "split": HOLDOUT, "exact": True}
    rules["resampling"] = Resampling(0)
    pairs = [f"{query}-to-{target}" for query in held_out for target in held_out if query is not target]
    evaluations = {NO_FUSION: retrieval.evaluate(engine, pairs, **rules)}
    training_parts, _ = Parts.of(_training_vectors(engine, tables), engine.modalities)
    for name in options.fuse:
        start = time.perf_counter()
        fused = FittedFusion(name, training_parts.modalities, fusions.fit(name, training_parts, seed))
        seconds = time.perf_counter() - start
        costs[method, name] = [(seconds, sum(array.nbytes for array in fused.fusion.arrays().values()))]
        item_tasks = [f"{query}-to-item" for query in held_out]
        evaluations[name] = retrieval.evaluate(engine, item_tasks, fusion=fused, **rules)
    figures = {
        (method, name, task): [_values_with_ground_truth(outcome)]
        for name, evaluation in evaluations.items()
        for task, outcome in evaluation.task_results.items()
    }
    return figures, costs


def _training_vectors(
    engine: SearchEngine, tables: Mapping[Modality, AssetTable]
) -> dict[Modality, tuple[Matrix, Integers]]:
    """Return by modality the (n, d) vectors and (n,) items of the assets that are not held out."""
    training = {}
    for modality, table in tables.items():
        rows = np.flatnonzero(table.whole & ~table.held_out)
        if len(rows):
            training[modality] = engine.index.modality_index(modality).index.vectors(rows), table.items[rows]
    return training


def _values_with_ground_truth(outcome: TaskResult) -> dict[Measure, Values]:
    """Return the values of each measure, only of queries with a relevant result."""
    has_relevant = outcome.ranks.relevant > 0
    return {measure: outcome.values[measure][has_relevant] for measure in (HIT, MAP)}


def _add(figures: Figures, costs: Costs, new_figures: Figures, new_costs: Costs) -> None:
    for task, values in new_figures.items():
        figures.setdefault(task, []).extend(values)
    for fitted, cost in new_costs.items():
        costs.setdefault(fitted, []).extend(cost)


def _conditions(options: argparse.Namespace, holdout: str, manifest: Manifest) -> dict[str, Any]:
    """Return all that figures depend on besides method and seed, in types that survive JSON unchanged."""
    return {
        "holdout": holdout,
        "fuse": options.fuse,
        "relevance": options.relevance,
        "encoders": {str(modality): spec.fingerprint for modality, spec in manifest.encoders.items()},
        "files": {name: checksum.sha256 for name, checksum in sorted(manifest.files.items())},
    }


def _append(
    keep: Path | None,
    *,
    conditions: Mapping[str, Any],
    method: str,
    seed: int,
    figures: Figures,
    costs: Costs,
) -> None:
    """Append the results of one method and seed to the file."""
    if keep is None:
        return
    line = {
        "asked": conditions,
        "method": method,
        "seed": seed,
        "figures": [
            [*task, [{str(measure): values.tolist() for measure, values in run.items()} for run in runs]]
            for task, runs in figures.items()
        ],
        "costs": [[*fitted, cost] for fitted, cost in costs.items()],
    }
    with keep.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _whole_lines(keep: Path | None) -> list[dict[str, Any]]:
    """Read the file. An incomplete last line is removed from the file, so that new lines can be appended."""
    if keep is None or not keep.is_file():
        return []
    data = keep.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        os.truncate(keep, len(whole))
    return [json.loads(line) for line in whole.splitlines()]


def _reuse(
    keep: Path | None,
    *,
    conditions: Mapping[str, Any],
    methods: Sequence[str],
    seeds: Sequence[int],
    figures: Figures,
    costs: Costs,
) -> set[tuple[str, int]]:
    """Add the stored results of these methods, seeds and conditions; return their methods and seeds."""
    done: set[tuple[str, int]] = set()
    for line in _whole_lines(keep):
        fit = line["method"], line["seed"]
        if line.get("asked") == conditions and fit[0] in methods and fit[1] in seeds and fit not in done:
            done.add(fit)
            stored_figures = {
                (method, fusion, task): [
                    {measure: np.array(run[str(measure)]) for measure in (HIT, MAP)} for run in runs
                ]
                for method, fusion, task, runs in line["figures"]
            }
            stored_costs = {
                (method, fusion): [(seconds, size) for seconds, size in cost]
                for method, fusion, cost in line["costs"]
            }
            _add(figures, costs, stored_figures, stored_costs)
    return done


def _long(figures: Figures, costs: Costs) -> Iterator[str]:
    """Yield a table with one row for every method, fusion and task."""
    yield "| align | fuse | task | queries | hit@10 | mAP | fit s | bytes |"
    yield "| --- " * 8 + "|"
    for (method, fusion, task), runs in figures.items():
        seconds, size = np.mean(costs[method, fusion], axis=0)
        cells = " | ".join(_cell([run[measure] for run in runs], measure) for measure in (HIT, MAP))
        count = round(float(np.mean([len(run[HIT]) for run in runs])))
        yield f"| {method} | {fusion} | {task} | {count} | {cells} | {seconds:.1f} | {size:,.0f} |"


def _wide(figures: Figures, costs: Costs) -> Iterator[str]:
    """Yield a table with one row for every method: tasks between modalities, then each fusion's mAP of item tasks."""
    methods = list(dict.fromkeys(method for method, _, _ in figures))
    pairs = list(dict.fromkeys(task for _, fusion, task in figures if fusion == NO_FUSION))
    item_tasks = list(dict.fromkeys(task for _, fusion, task in figures if fusion != NO_FUSION))
    fused = list(dict.fromkeys(fusion for _, fusion, _ in figures if fusion != NO_FUSION))
    heads = ["align", *(f"{task}: {HIT}, {MAP}" for task in pairs), *fused, "fit s", "kB"]
    yield f"Columns of fusions: {MAP} of {' / '.join(item_tasks)}"
    yield f"| {' | '.join(heads)} |"
    yield "| --- " * len(heads) + "|"
    for method in methods:
        cells = []
        for task in pairs:
            runs = figures.get((method, NO_FUSION, task), [])
            cells.append(f"{_mean(runs, HIT)}, {_cell([run[MAP] for run in runs], MAP)}" if runs else "")
        cells += [
            " / ".join(_mean(figures.get((method, fusion, task), []), MAP) for task in item_tasks)
            for fusion in fused
        ]
        seconds, size = np.mean(costs[method, NO_FUSION], axis=0)
        yield f"| {method} | {' | '.join(cells)} | {seconds:.0f} | {size / 1000:,.0f} |"


def _mean(runs: Sequence[Mapping[Measure, Values]], measure: Measure) -> str:
    return f"{np.mean([run[measure].mean() for run in runs]):.3f}" if runs else ""


def _cell(runs: Sequence[Values], measure: Measure) -> str:
    mean = np.mean([values.mean() for values in runs])
    ends = bootstrap.intervals({measure: np.concatenate(runs)}, bootstrap.Resampling())[measure]
    return f"{mean:.3f}" + (f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else "")


if __name__ == "__main__":
    main()
