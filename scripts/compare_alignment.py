"""Every alignment method by every fusion, on the stored features of one index; nothing is encoded.

For every method and seed the index's copy is fitted anew on the items that the seed does not hold out. Then the
held-out assets of one modality ask: for those of another, and for items as every fusion makes one vector of what they
have besides the asking modality. Figures are means over seeds, intervals those of the queries of all seeds
together, bootstrapped; the printed table is Markdown. With --keep what was measured is written to a file, a method
and seed at a time, with the options and the index that it holds for, and a run that was cut short goes on from there:
what was measured otherwise is passed over. Changes of the code it cannot know of: take another file then.
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
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import indexer
import retrieval
from retrieval import SearchEngine, bootstrap
from retrieval.alignment import registry as alignments
from retrieval.errors import AlignmentError
from retrieval.fusion import registry as fusions
from retrieval.fusion.base import Parts
from retrieval.manifest import Manifest
from retrieval.metrics import Measure, Values
from retrieval.ranking import relevant_ranks
from retrieval.relevance import SameLabel
from retrieval.types import Integers, Matrix, Modality

HIT, MAP = Measure("hit", 10), Measure("map")
NO_FUSION = "none"

Rows = tuple[Matrix, Integers]
"""(n, d) vectors and (n,) items."""

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
    parser.add_argument("--holdout", default="0.33", help="a fraction or an expression (%(default)s)")
    parser.add_argument("--align", nargs="+", default=list(alignments.METHODS), choices=alignments.METHODS)
    parser.add_argument("--fuse", nargs="*", default=list(fusions.METHODS), choices=fusions.METHODS)
    parser.add_argument("--relevance", metavar="COLUMN", help="items of the same value, not the same item")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="JSON lines to go on from, and to add to")
    parser.add_argument("--tasks", nargs="+", metavar="A-to-B", help="B may be item; default: all")
    options = parser.parse_args(argv)
    asked = _asked(options, retrieval.open(options.index).manifest)  # which says what is wrong with it
    figures: Figures = {}
    costs: Costs = {}
    done = _known(options.keep, asked, options.align, options.seeds, figures, costs)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "index"
        shutil.copytree(options.index, copy)
        for method in options.align:
            for seed in options.seeds:
                if (method, seed) in done:
                    continue
                try:
                    own, spent = _compare(copy, method, seed, options)
                    _add(figures, costs, own, spent)
                    _note(options.keep, asked, method, seed, own, spent)
                except AlignmentError as error:
                    print(f"{method}: {error}", file=sys.stderr)
                    break
    seeds = " ".join(map(str, options.seeds))
    print(f"{datetime.now(UTC):%Y-%m-%d}, {options.index.name}, held out {options.holdout}, seeds {seeds}")
    print("\n".join(_table(figures, costs, options.tasks)))


def _compare(
    index: Path,
    method: str,
    seed: int,
    options: argparse.Namespace,
) -> tuple[Figures, Costs]:
    """What one fit and the fusions of it are worth, and what they cost."""
    figures: Figures = {}
    costs: Costs = {}
    holdout = options.holdout
    holdout = float(holdout) if holdout.replace(".", "", 1).isdigit() else holdout
    start = time.perf_counter()
    indexer.realign(index, align=method, seed=seed, holdout=holdout)
    seconds = time.perf_counter() - start
    engine = retrieval.open(index)
    size = next((index / "generations").glob(f"{engine.manifest.generation:06d}/alignment.safetensors"))
    costs.setdefault((method, NO_FUSION), []).append((seconds, size.stat().st_size))
    labels = _labels(engine, options.relevance)
    held, learned = _rows(engine, held_out=True), _rows(engine, held_out=False)
    for task, values in _pairs(held, labels):
        figures.setdefault((method, NO_FUSION, task), []).append(values)
    modalities = engine.modalities
    if not options.fuse or len(modalities) < 2:
        return figures, costs
    training, _ = Parts.of(learned, modalities)
    testing, items = Parts.of(held, modalities)
    for name in options.fuse:
        start = time.perf_counter()
        fusion = fusions.fit(name, training, seed)
        seconds, size = time.perf_counter() - start, sum(own.nbytes for own in fusion.arrays().values())
        costs.setdefault((method, name), []).append((seconds, size))
        for at, modality in enumerate(modalities):
            others = np.ones((1, len(modalities)), np.bool_)
            others[:, at] = False
            gallery = (testing.present & others).any(axis=1)
            asking = testing.present[:, at]
            if asking.any() and gallery.any():
                queries = fusion(testing.taken(asking).only(~others))
                asked = fusion(testing.taken(gallery).only(others))
                values = _values(queries, items[asking], asked, items[gallery], labels)
                figures.setdefault((method, name, f"{modality}-to-item"), []).append(values)
    return figures, costs


def _add(figures: Figures, costs: Costs, more: Figures, spent: Costs) -> None:
    for task, values in more.items():
        figures.setdefault(task, []).extend(values)
    for fitted, cost in spent.items():
        costs.setdefault(fitted, []).extend(cost)


def _asked(options: argparse.Namespace, manifest: Manifest) -> dict[str, Any]:
    """All but method and seed that figures depend on, as JSON gives it back."""
    return {
        "holdout": options.holdout,
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


def _rows(engine: SearchEngine, *, held_out: bool) -> dict[Modality, Rows]:
    found = {}
    for modality in engine.modalities:
        table = engine.table(modality)
        rows = np.flatnonzero(table.whole & (table.held_out == held_out))
        if len(rows):
            found[modality] = engine.shelf(modality).index.vectors(rows), table.items[rows]
    return found


def _labels(engine: SearchEngine, column: str | None) -> Mapping[int, int] | None:
    """A number for the value of each item; None where the item itself is what is relevant."""
    if column is None:
        return None
    values = engine.catalog.labels(column)
    numbers = {value: number for number, value in enumerate(sorted(set(map(str, values.values()))))}
    return {item: numbers[str(value)] for item, value in values.items()}


def _pairs(
    held: Mapping[Modality, Rows], labels: Mapping[int, int] | None
) -> Iterator[tuple[str, dict[Measure, Values]]]:
    for query, (vectors, items) in held.items():
        for target, (gallery, whose) in held.items():
            if query is not target:
                yield f"{query}-to-{target}", _values(vectors, items, gallery, whose, labels)


def _values(
    queries: Matrix, asking: Integers, gallery: Matrix, asked: Integers, labels: Mapping[int, int] | None
) -> dict[Measure, Values]:
    """Each measure of each query that has something relevant."""
    whose = [asking, asked]
    if labels is not None:
        whose = [np.array([labels.get(item, -1) for item in each.tolist()], np.int64) for each in whose]
    ranks = relevant_ranks(queries, gallery, SameLabel(*whose))
    judged: NDArray[np.bool_] = ranks.relevant > 0
    return {measure: measure.values(ranks)[judged] for measure in (HIT, MAP)}


def _table(
    figures: Figures,
    costs: Costs,
    tasks: Sequence[str] | None,
) -> Iterator[str]:
    yield "| align | fuse | task | queries | hit@10 | mAP | fit s | bytes |"
    yield "| --- " * 8 + "|"
    for (method, fusion, task), seeds in figures.items():
        if (tasks and task not in tasks) or not sum(len(each[HIT]) for each in seeds):
            continue
        seconds, size = np.mean(costs[method, fusion], axis=0)
        cells = [_cell([each[measure] for each in seeds], measure) for measure in (HIT, MAP)]
        count = round(float(np.mean([len(each[HIT]) for each in seeds])))
        bytes_ = f"{size:,.0f}" if size else ""
        yield f"| {method} | {fusion} | {task} | {count} | {cells[0]} | {cells[1]} | {seconds:.1f} | {bytes_} |"


def _cell(seeds: Sequence[Values], measure: Measure) -> str:
    mean = np.mean([own.mean() for own in seeds if len(own)])
    ends = bootstrap.intervals({measure: np.concatenate(seeds)}, bootstrap.Resampling())[measure]
    return f"{mean:.3f}" + (f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else "")


if __name__ == "__main__":
    main()
