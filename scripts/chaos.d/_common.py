"""Shared by all chaos scripts: pictures to index, a job to disturb, and digests to compare indexes."""

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

import faiss  # noqa: F401 - loaded once, for all forked processes
import numpy as np
from PIL import Image

import retrieval
from indexer import job
from retrieval.storage.feature_store import FeatureStore
from retrieval.storage.layout import Layout
from tests.helpers import pictures, toy

DATA = Path(os.environ.get("XMODAL_DATA", Path(__file__).parents[3] / "shared" / "data"))
"""Folder of real photos; without them, pictures of smooth noise are drawn."""


def photos(count: int, seed: int) -> Iterator[bytes]:
    """Yield ``count`` different JPEG files, cropped from real photos if there are any."""
    chance = random.Random(seed)
    paths = sorted((DATA / "photos").glob("*.jpg"))
    for number in range(count):
        if paths:
            with Image.open(paths[number % len(paths)]) as photo:
                width, height = photo.size
                left, top = chance.randrange(width // 4), chance.randrange(height // 4)
                image = photo.convert("RGB").crop((left, top, width, height))
        else:
            image = pictures.noise(200 + number % 100, 150, seed=seed * 100_000 + number)
        file = BytesIO()
        image.save(file, "JPEG", quality=85)
        yield file.getvalue()


def folder(root: Path, count: int, seed: int) -> Path:
    """Write a source: pictures, each with a caption that names a colour."""
    root.mkdir(parents=True)
    for number, data in enumerate(photos(count, seed)):
        (root / f"{number:05}.jpg").write_bytes(data)
        colour = list(toy.COLOURS)[number % len(toy.COLOURS)]
        (root / f"{number:05}.txt").write_text(f"Number {number} is {colour}.\n", encoding="utf-8")
    return root


def build(source: Path, out: Path, **options: Any) -> Any:
    """Index with toy encoders and an alignment that is fast to fit, so that most of the time is decoding."""
    return job.build([source], out=out, preset="toy", device="cpu", align="conse", **options)


def forked(work: Callable[[], None]) -> int:
    """Start a process that does this work and ends; return its id."""
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
    """Return a digest of an index's content: items, assets, failures, counts and all vectors."""
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
    content = [tables, failures, vectors, dict(engine.manifest.counts)]
    return hashlib.sha256(repr(content).encode()).hexdigest()


def answers(out: Path) -> list[list[list[Any]]]:
    """Open the index and return the hits of a query for every colour."""
    engine = retrieval.open(out, device="cpu")
    try:
        return [
            [[hit.id, round(hit.score, 5)] for hit in engine.text_to_image(f"It is {name}.", k=5)]
            for name in toy.COLOURS
        ]
    finally:
        engine.index.catalog.close()


def stored(out: Path) -> int:
    """Return the number of contents with stored features."""
    folders = Layout(out).features_root.glob("*")
    return sum(len(FeatureStore(folder, 3).contents()) for folder in folders)


def tree(process: int) -> set[int]:
    """Return the process and all its descendants."""
    processes, waiting = set(), [process]
    while waiting:
        one = waiting.pop()
        processes.add(one)
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                waiting += map(int, children.read_text().split())
            except OSError:
                continue
    return processes


def left(processes: Iterable[int], seconds: float = 10.0) -> set[int]:
    """Return the processes that still run after at most ``seconds``."""
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
    """Return the bytes that a process and its descendants hold; shared memory counts once."""
    total = 0
    for one in tree(process):
        try:
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024
    return total


def finish(problems: list[str]) -> None:
    """Print the problems and exit; the status is 1 if there are any."""
    for problem in problems:
        print(f"WRONG: {problem}", flush=True)
    sys.exit(1 if problems else 0)
