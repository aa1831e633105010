"""What every kind of chaos shares: pictures to index, a job to hurt, and an index as it can be compared."""

from __future__ import annotations

import hashlib
import os
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import faiss  # noqa: F401 - loaded once, for all processes that are forked
import numpy as np
from PIL import Image

import retrieval
from indexer import job
from retrieval.storage.feature_store import FeatureStore
from retrieval.storage.layout import Layout
from tests.helpers import pictures, toy

DATA = Path(os.environ.get("XMODAL_DATA", Path(__file__).parents[3] / "shared" / "data"))
"""Real photos, where there are any; without them pictures of smooth noise are drawn."""


def photos(count: int, seed: int) -> Iterator[bytes]:
    """So many different JPEG files, cut from real photos where there are some."""
    chance = random.Random(seed)
    found = sorted((DATA / "photos").glob("*.jpg"))
    for number in range(count):
        if found:
            with Image.open(found[number % len(found)]) as photo:
                width, height = photo.size
                left, top = chance.randrange(width // 4), chance.randrange(height // 4)
                image = photo.convert("RGB").crop((left, top, width, height))
        else:
            image = pictures.noise(200 + number % 100, 150, seed=seed * 100_000 + number)
        file = BytesIO()
        image.save(file, "JPEG", quality=85)
        yield file.getvalue()


def folder(root: Path, count: int, seed: int) -> Path:
    """A source: pictures, each with a caption that names a colour."""
    root.mkdir(parents=True)
    for number, data in enumerate(photos(count, seed)):
        (root / f"{number:05}.jpg").write_bytes(data)
        colour = list(toy.COLOURS)[number % len(toy.COLOURS)]
        (root / f"{number:05}.txt").write_text(f"Number {number} is {colour}.\n", encoding="utf-8")
    return root


def build(source: Path, out: Path, **options: Any) -> Any:
    """Index with encoders that need no network, and an alignment that is soon fitted: most of it is decoding."""
    return job.build([source], out=out, preset="toy", device="cpu", align="conse", **options)


def forked(work: Callable[[], None]) -> int:
    """A process that does this work and ends."""
    process = os.fork()
    if process:
        return process
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def contents(out: Path) -> str:
    """A digest of all that an index says: items and assets with their numbers, failures, and every vector."""
    engine = retrieval.open(out, device="cpu")
    catalog = engine.index.catalog
    with catalog.session() as session:
        tables = {
            name: session.connection().exec_driver_sql(f"SELECT * FROM {name}").all()  # noqa: S608
            for name in ("items", "assets", "columns")
        }
    failures = [(row.path, row.stage, row.reason) for row in catalog.failures()]
    vectors = {}
    for modality in engine.modalities:
        modality_index = engine.index.modality_index(modality)
        vectors[modality] = (
            modality_index.assets.tolist(),
            np.asarray(modality_index.index.vectors()).tobytes(),
        )
    catalog.close()
    said = [tables, failures, vectors, dict(engine.manifest.counts)]
    return hashlib.sha256(repr(said).encode()).hexdigest()


def answers(out: Path) -> list[list[list[Any]]]:
    """What a reader is told that opens the index now and asks for every colour."""
    engine = retrieval.open(out, device="cpu")
    try:
        return [
            [[hit.id, round(hit.score, 5)] for hit in engine.text_to_image(f"It is {name}.", k=5)]
            for name in toy.COLOURS
        ]
    finally:
        engine.index.catalog.close()


def stored(out: Path) -> int:
    """How many contents have features."""
    folders = Layout(out).features_root.glob("*")
    return sum(len(FeatureStore(folder, 3).contents()) for folder in folders)


def tree(process: int) -> set[int]:
    """The process and all its descendants."""
    found, waiting = set(), [process]
    while waiting:
        one = waiting.pop()
        found.add(one)
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                waiting += map(int, children.read_text().split())
            except OSError:
                continue
    return found


def left(processes: Iterable[int], seconds: float = 10.0) -> set[int]:
    """Those of the processes that still run after a while."""
    until = time.monotonic() + seconds
    alive = set(processes)
    while alive and time.monotonic() < until:
        alive = {one for one in alive if _runs(one)}
        time.sleep(0.01)
    return alive


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def memory(process: int) -> int:
    """Bytes that a process and its descendants hold, what they share counted once."""
    total = 0
    for one in tree(process):
        try:
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024
    return total


def finish(problems: list[str]) -> None:
    """Say what went wrong, and end with a status that tells."""
    for problem in problems:
        print(f"WRONG: {problem}", flush=True)
    sys.exit(1 if problems else 0)
