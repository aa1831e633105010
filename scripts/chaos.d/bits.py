"""Single flipped bits in every file of an index: each is detected, and repaired or reported as lost."""

from __future__ import annotations

import argparse
import csv
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

import indexer
import retrieval
from retrieval.errors import XmodalError
from tests.helpers import damaged, pictures, sounds

PLACES = {"first": (0.0, 0.02), "middle": (0.02, 0.98), "last": (0.98, 1.0)}
"""Ranges of a file, as shares of its length, so that headers and ends are hit as often as the middle."""


def main() -> None:
    """Flip one bit at a time in copies of one index."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--items", type=int, default=60, help="pictures, and half as many sounds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--photos", type=Path, help="a folder of JPEG files and a manifest.csv with their captions"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="xmodal-bits-") as folder:
        problems = run(Path(folder), options)
    for problem in problems:
        print(f"WRONG: {problem}")
    sys.exit(1 if problems else 0)


def run(root: Path, options: argparse.Namespace) -> list[str]:
    """Flip the bits and return the problems."""
    whole, sources = build(root, options)
    before, files = contents(whole), damaged.files(whole)
    size = sum((whole / name).stat().st_size for name in files)
    start = time.perf_counter()
    assert retrieval.verify(whole).is_whole  # noqa: S101 - otherwise the rest would be meaningless
    took = time.perf_counter() - start
    print(f"{len(files)} files, {size:,} bytes, verified in {took:.2f} s ({size / took / 1e6:,.0f} MB/s)")
    chance, counts, problems = random.Random(options.seed), Counter[tuple[str, str]](), list[str]()
    for number in range(options.flips):
        name, place = files[number % len(files)], list(PLACES)[number // len(files) % len(PLACES)]
        copy = damaged.copy(whole, root / "copy")
        bits = 8 * (copy / name).stat().st_size
        low, high = PLACES[place]
        bit = chance.randrange(int(bits * low), max(int(bits * low) + 1, int(bits * high)))
        damaged.flip(copy / name, bit)
        what = f"bit {bit} of {name}"
        counts["searched before the repair", search_outcome(copy, before)] += 1
        verdict = retrieval.verify(copy)
        named = [damage for damage in verdict.damages if name.startswith(damage.path)]
        if len(named) != 1 or len(verdict.damages) != 1:
            problems.append(f"{what}: verify names {[damage.path for damage in verdict.damages]}")
            continue
        done = indexer.repair(copy)
        if done.after.damages:
            counts["lost, and made again by 'xmodal index'", str(named[0].remedy)] += 1
            indexer.build(sources, out=copy)
        else:
            counts["repaired", str(named[0].remedy)] += 1
        if not retrieval.verify(copy).is_whole:
            problems.append(f"{what}: damaged after {named[0].remedy}")
        elif not same(contents(copy), before):
            problems.append(f"{what}: other answers after {named[0].remedy}")
        shutil.rmtree(copy)
    for (what, how), count in sorted(counts.items()):
        print(f"{count:5}  {what}: {how}")
    print(f"{options.flips} flips, seed {options.seed}: {len(problems)} wrong")
    return problems


def build(root: Path, options: argparse.Namespace) -> tuple[Path, list[Path]]:
    """Build an index of two generations with the packaged encoders: pictures with captions, and sounds."""
    source, more = root / "source", root / "source/more"
    more.mkdir(parents=True)
    captioned = {}
    if options.photos:
        with (options.photos / "manifest.csv").open(encoding="utf-8", newline="") as file:
            captioned = {row["image"]: row["caption"] for row in csv.DictReader(file)}
    for number, (image, caption) in enumerate(list(captioned.items())[: options.items]):
        shutil.copyfile(options.photos / image, source / f"{number:03}.jpg")
        (source / f"{number:03}.txt").write_text(caption, encoding="utf-8")
    for number in range(len(captioned), options.items):
        pictures.noise(120, 90, seed=number).save(source / f"{number:03}.png")
        (source / f"{number:03}.txt").write_text(f"Noise of kind {number}.", encoding="utf-8")
    for number in range(options.items // 2):
        (source / f"{number:03}.wav").write_bytes(sounds.wav(sounds.melody(1.0, 16000, number), 16000))
    index = root / "index"
    indexer.build([source], out=index, encoders={"audio": "acoustic"}, holdout=0.2)
    pictures.noise(100, 100, seed=1).save(more / "last.png")
    indexer.build([source], out=index)
    return index, [source]


def contents(index: Path) -> dict[str, Any]:
    """Return an index's content and results: all assets with vectors, and the nearest neighbours of some items."""
    engine = retrieval.open(index, device="cpu")
    try:
        found: dict[str, Any] = {"vectors": {}, "hits": []}
        assert engine.index.space.dimension  # noqa: S101 - reads the alignment, as a text query does
        for modality in engine.modalities:
            modality_index = engine.index.modality_index(modality)
            records = engine.index.catalog.records(modality_index.assets)
            for asset, vector in zip(
                modality_index.assets.tolist(), modality_index.index.vectors(), strict=True
            ):
                record = records[asset]
                key = (
                    record.item,
                    record.modality,
                    record.path,
                    record.text,
                    record.start,
                    str(record.metadata),
                )
                found["vectors"][key] = np.array(vector)
            for item in sorted({record.item for record in records.values()})[:20]:
                found["hits"].append([(hit.id, hit.score) for hit in engine.search(id=item, to="any", k=20)])
        return found
    finally:
        engine.index.catalog.close()


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two indexes have the same assets, vectors and results, except for rounding."""
    if one["vectors"].keys() != other["vectors"].keys():
        return False
    near = all(np.allclose(one["vectors"][key], other["vectors"][key], atol=1e-5) for key in one["vectors"])
    return near and all(
        [key for key, _ in mine] == [key for key, _ in theirs]
        and np.allclose([score for _, score in mine], [score for _, score in theirs], atol=1e-5)
        for mine, theirs in zip(one["hits"], other["hits"], strict=True)
    )


def search_outcome(index: Path, before: dict[str, Any]) -> str:
    """Search a damaged index and describe the outcome."""
    try:
        return "right answers" if same(contents(index), before) else "wrong answers"
    except XmodalError:
        return "refused"


if __name__ == "__main__":
    main()
