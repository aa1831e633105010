"""What benchmarks of alignments share: the index that scripts/demo made, to be fitted anew in a copy of it."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def options(doc: str | None) -> argparse.ArgumentParser:
    """Which index, with which seeds, and how much of it is held out; ``doc`` is the script's."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0] if doc else None)
    parser.add_argument("index", nargs="?", type=Path, default=Path("demo/index"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--holdout", type=float, default=0.33)
    return parser


@contextmanager
def copied(index: Path) -> Iterator[Path]:
    """A copy of the index, for as long as it is needed."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "index"
        shutil.copytree(index, copy)
        yield copy
