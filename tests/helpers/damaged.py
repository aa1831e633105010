"""A small index for damage tests, and ways to damage it."""

import random
import shutil
from pathlib import Path

import numpy as np

import indexer
import retrieval
from retrieval.storage.feature_store import RECORD
from tests.helpers import toy

QUERIES = ["red", "a green thing", "pink or blue"]


def build(root: Path) -> Path:
    """Build an index of two generations in ``root/index``, from the pictures and captions in ``root/source``."""
    source = toy.folder(root / "source")
    indexer.build([source], out=root / "index", preset="toy")
    toy.paint(source / "more/brown.png", (128, 64, 0))
    indexer.build([source], out=root / "index")
    return root / "index"


def copy(index: Path, to: Path) -> Path:
    """Copy ``index`` to ``to``, where it may be damaged."""
    shutil.copytree(index, to)
    return to


def files(index: Path) -> list[str]:
    """Return every file of ``index`` that is not empty."""
    paths = (path for path in index.rglob("*") if path.is_file() and path.stat().st_size)
    return sorted(path.relative_to(index).as_posix() for path in paths)


def flip(path: Path, bit: int) -> None:
    """Flip one bit; flipping it twice restores the file."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def bits(path: Path, count: int, seed: int = 0) -> list[int]:
    """Return the first and the last bit of a file, and others drawn at random."""
    size = 8 * path.stat().st_size
    return [0, size - 1, *random.Random(f"{seed} {path.name}").choices(range(size), k=count)]  # noqa: S311


def answers(index: Path) -> list[object]:
    """Return the results of searches that together read every file."""
    engine = retrieval.open(index)
    found = [engine.search(text=text, to=to, k=30) for text in QUERIES for to in ("image", "text", "any")]
    found.append(engine.search(id="red", to="image"))
    return [
        [(hit.id, hit.modality, hit.path, hit.text, round(hit.score, 5)) for hit in hits] for hits in found
    ]


def as_before_checksums(store: Path) -> None:
    """Convert a feature folder to format 1, which had no checksums."""
    records = np.fromfile(store / "contents.bin", RECORD)
    former = np.dtype([("content", "V32"), ("following", "<u4"), ("start", "<f8"), ("end", "<f8")])
    old = np.zeros(len(records), former)
    for name in former.names or ():
        old[name] = records[name]
    (store / "records.bin").write_bytes(old.tobytes())
    (store / "contents.bin").unlink()
