"""Every alignment method by every fusion, on the stored features of one index; nothing is encoded.

For every method, seed and holdout the index's copy is fitted anew on the items that are not held out. Then the
held-out assets of one modality ask: for those of another, and for items as every fusion makes one vector of what they
have besides the asking modality (``xmodal evaluate --task A-to-item``). Figures are means over seeds and holdouts,
intervals those of the queries of all of them together, bootstrapped; the printed table is Markdown. With --keep what
was measured is written to a file, a method, seed and holdout at a time, with the options and the index that it holds
for, and a run that was cut short goes on from there: what was measured otherwise is passed over. Changes of the code it
cannot know of: take another file then.
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
from retrieval.fusion.fitted import FittedFusion
from retrieval.storage.catalog import AssetTable
from retrieval.storage.manifest import Manifest
from retrieval.types import ITEM, Integers, Matrix, Modality

HIT, MAP = Measure("hit", 10), Measure("map")
NO_FUSION = "none"

Figures = dict[tuple[str, str, str], list[dict[Measure, Values]]]
"""By method, fusion and task, the values of the queries, one entry a seed."""

Costs = dict[tuple[str, str], list[tuple[float, int]]]
"""By method and fusion, seconds of the fit and bytes of what was fitted, one entry a seed."""


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="compare_alignment", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("index", nargs="?", type=Path, default=Path("demo/index"), help="(%(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--holdout", nargs="+", default=["0.33"], help="a fraction or expressions (0.33)")
    parser.add_argument("--align", nargs="+", default=list(alignments.METHODS), choices=alignments.METHODS)
    parser.add_argument("--fuse", nargs="*", default=list(fusions.METHODS), choices=fusions.METHODS)
    parser.add_argument("--relevance", metavar="COLUMN", help="items of the same value, not the same item")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="JSON lines to go on from, and to add to")
    parser.add_argument("--tasks", nargs="+", metavar="A-to-B", help="B may be item; default: all")
    parser.add_argument("--wide", action="store_true", help="a row a method, not a row a figure")
    options = parser.parse_args(argv)
    manifest = retrieval.open(options.index).manifest  # which says what is wrong with it
    asked = {holdout: _asked(options, holdout, manifest) for holdout in options.holdout}
    figures: Figures = {}
    costs: Costs = {}
    done = {
        (*own, holdout)
        for holdout in options.holdout
        for own in _known(options.keep, asked[holdout], options.align, options.seeds, figures, costs)
    }
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "index"
        shutil.copytree(options.index, copy)
        for method in options.align:
            for seed, holdout in product(options.seeds, options.holdout):
                if (method, seed, holdout) in done:
                    continue
                try:
                    own, spent = _compare(copy, method, seed, holdout, options)
                    _add(figures, costs, own, spent)
                    _note(options.keep, asked[holdout], method, seed, own, spent)
                except AlignmentError as error:
                    print(f"{method}: {error}", file=sys.stderr)
                    break
    seeds = " ".join(map(str, options.seeds))
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {options.index.name}, held out {'; '.join(options.holdout)}, seeds {seeds}"
    )
    shown = {
        (method, fusion, task): values
        for (method, fusion, task), seeds in sorted(
            figures.items(), key=lambda entry: options.align.index(entry[0][0])
        )
        if (not options.tasks or task in options.tasks)
        and (values := [own for own in seeds if len(own[HIT])])
    }
    print("\n".join((_wide if options.wide else _long)(shown, costs)))


def _compare(
    index: Path,
    method: str,
    seed: int,
    holdout: str,
    options: argparse.Namespace,
) -> tuple[Figures, Costs]:
    """What one fit and the fusions of it are worth, and what they cost."""
    start = time.perf_counter()
    share = float(holdout) if holdout.replace(".", "", 1).isdigit() else holdout
    indexer.realign(index, align=method, seed=seed, holdout=share)
    seconds = time.perf_counter() - start
    engine = retrieval.open(index)
    size = next((index / "generations").glob(f"{engine.manifest.generation:06d}/alignment.safetensors"))
    costs: Costs = {(method, NO_FUSION): [(seconds, size.stat().st_size)]}
    tables = {modality: engine.index.table(modality) for modality in engine.modalities}
    asking = [modality for modality, table in tables.items() if (table.whole & table.held_out).any()]
    if len(asking) < 2:
        return {}, costs
    rules: dict[str, Any] = {"relevance": options.relevance or ITEM, "split": HOLDOUT, "exact": True}
    rules["resampling"] = Resampling(0)
    pairs = [f"{query}-to-{target}" for query in asking for target in asking if query is not target]
    found = {NO_FUSION: retrieval.evaluate(engine, pairs, **rules)}
    learned, _ = Parts.of(_learned(engine, tables), engine.modalities)
    for name in options.fuse:
        start = time.perf_counter()
        fused = FittedFusion(name, learned.modalities, fusions.fit(name, learned, seed))
        seconds = time.perf_counter() - start
        costs[method, name] = [(seconds, sum(own.nbytes for own in fused.fusion.arrays().values()))]
        item_pool = [f"{query}-to-item" for query in asking]
        found[name] = retrieval.evaluate(engine, item_pool, fusion=fused, **rules)
    figures = {
        (method, name, task): [_judged(task_result)]
        for name, evaluation in found.items()
        for task, task_result in evaluation.task_results.items()
    }
    return figures, costs


def _learned(
    engine: SearchEngine, tables: Mapping[Modality, AssetTable]
) -> dict[Modality, tuple[Matrix, Integers]]:
    """By modality, (n, d) vectors and (n,) items of what is not held out."""
    found = {}
    for modality, table in tables.items():
        rows = np.flatnonzero(table.whole & ~table.held_out)
        if len(rows):
            found[modality] = engine.index.modality_index(modality).index.vectors(rows), table.items[rows]
    return found


def _judged(task_result: TaskResult) -> dict[Measure, Values]:
    """Each measure of each query that has something relevant."""
    judged = task_result.ranks.relevant > 0
    return {measure: task_result.values[measure][judged] for measure in (HIT, MAP)}


def _add(figures: Figures, costs: Costs, more: Figures, spent: Costs) -> None:
    for task, values in more.items():
        figures.setdefault(task, []).extend(values)
    for fitted, cost in spent.items():
        costs.setdefault(fitted, []).extend(cost)


def _asked(options: argparse.Namespace, holdout: str, manifest: Manifest) -> dict[str, Any]:
    """All but method and seed that figures depend on, as JSON gives it back."""
    return {
        "holdout": holdout,
        "fuse": options.fuse,
        "relevance": options.relevance,
        "encoders": {str(modality): spec.fingerprint for modality, spec in manifest.encoders.items()},
        "files": {name: checksum.sha256 for name, checksum in sorted(manifest.files.items())},
    }


def _note(
    keep: Path | None, asked: Mapping[str, Any], method: str, seed: int, figures: Figures, costs: Costs
) -> None:
    """Write down what was measured of one method and seed."""
    if keep is None:
        return
    line = {
        "asked": asked,
        "method": method,
        "seed": seed,
        "figures": [
            [*task, [{str(measure): own.tolist() for measure, own in each.items()} for each in values]]
            for task, values in figures.items()
        ],
        "costs": [[*fitted, cost] for fitted, cost in costs.items()],
    }
    with keep.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _whole_lines(keep: Path | None) -> list[dict[str, Any]]:
    """What was written down. A last line that was cut short is taken off the file, for others to be added."""
    if keep is None or not keep.is_file():
        return []
    data = keep.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        os.truncate(keep, len(whole))
    return [json.loads(line) for line in whole.splitlines()]


def _known(
    keep: Path | None,
    asked: Mapping[str, Any],
    methods: Sequence[str],
    seeds: Sequence[int],
    figures: Figures,
    costs: Costs,
) -> set[tuple[str, int]]:
    """Take what was written down of these methods and seeds where the same was asked, and say which they are."""
    done: set[tuple[str, int]] = set()
    for line in _whole_lines(keep):
        own = line["method"], line["seed"]
        if line.get("asked") == asked and own[0] in methods and own[1] in seeds and own not in done:
            done.add(own)
            measured = {
                (method, fusion, task): [
                    {measure: np.array(each[str(measure)]) for measure in (HIT, MAP)} for each in values
                ]
                for method, fusion, task, values in line["figures"]
            }
            spent = {(method, fusion): [(s, b) for s, b in cost] for method, fusion, cost in line["costs"]}
            _add(figures, costs, measured, spent)
    return done


def _long(figures: Figures, costs: Costs) -> Iterator[str]:
    """A row for every method, fusion and task."""
    yield "| align | fuse | task | queries | hit@10 | mAP | fit s | bytes |"
    yield "| --- " * 8 + "|"
    for (method, fusion, task), seeds in figures.items():
        seconds, size = np.mean(costs[method, fusion], axis=0)
        cells = " | ".join(_cell([each[measure] for each in seeds], measure) for measure in (HIT, MAP))
        count = round(float(np.mean([len(each[HIT]) for each in seeds])))
        yield f"| {method} | {fusion} | {task} | {count} | {cells} | {seconds:.1f} | {size:,.0f} |"


def _wide(figures: Figures, costs: Costs) -> Iterator[str]:
    """A row for every method: tasks between modalities, then of every fusion the mAP of the tasks to items."""
    methods = list(dict.fromkeys(method for method, _, _ in figures))
    pairs = list(dict.fromkeys(task for _, fusion, task in figures if fusion == NO_FUSION))
    item_pool = list(dict.fromkeys(task for _, fusion, task in figures if fusion != NO_FUSION))
    fused = list(dict.fromkeys(fusion for _, fusion, _ in figures if fusion != NO_FUSION))
    heads = ["align", *(f"{task}: {HIT}, {MAP}" for task in pairs), *fused, "fit s", "kB"]
    yield f"Of fusions: {MAP} of {' / '.join(item_pool)}"
    yield f"| {' | '.join(heads)} |"
    yield "| --- " * len(heads) + "|"
    for method in methods:
        cells = []
        for task in pairs:
            seeds = figures.get((method, NO_FUSION, task), [])
            cells.append(f"{_mean(seeds, HIT)}, {_cell([each[MAP] for each in seeds], MAP)}" if seeds else "")
        cells += [
            " / ".join(_mean(figures.get((method, fusion, task), []), MAP) for task in item_pool)
            for fusion in fused
        ]
        seconds, size = np.mean(costs[method, NO_FUSION], axis=0)
        yield f"| {method} | {' | '.join(cells)} | {seconds:.0f} | {size / 1000:,.0f} |"


def _mean(seeds: Sequence[Mapping[Measure, Values]], measure: Measure) -> str:
    return f"{np.mean([each[measure].mean() for each in seeds]):.3f}" if seeds else ""


def _cell(seeds: Sequence[Values], measure: Measure) -> str:
    mean = np.mean([own.mean() for own in seeds])
    ends = bootstrap.intervals({measure: np.concatenate(seeds)}, bootstrap.Resampling())[measure]
    return f"{mean:.3f}" + (f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else "")


if __name__ == "__main__":
    main()
