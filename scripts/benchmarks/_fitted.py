"""Shared by benchmarks of alignments: the index made by scripts/demo, which is fitted again in a copy."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def options(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser for the index, the seeds and the held-out share; ``doc`` is the docstring of the script."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0] if doc else None)
    parser.add_argument("index", nargs="?", type=Path, default=Path("demo/index"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--holdout", type=float, default=0.33)
    return parser


@contextmanager
def copied(index: Path) -> Iterator[Path]:
    """Yield a temporary copy of the index."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "index"
        shutil.copytree(index, copy)
        yield copy
