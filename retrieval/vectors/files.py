"""FAISS's files, and the names of those that stand beside one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from retrieval.errors import DamagedIndexError
from retrieval.vectors import faiss_module


def stored(path: Path) -> Path:
    """The file of the vectors at half precision, beside an index that holds less of them."""
    return path.with_suffix(".vectors.faiss")


def added(path: Path) -> Path:
    """The file of the vectors that came after the index was built."""
    return path.with_suffix(".added.npy")


def order(path: Path) -> Path:
    """The file that says which of the vectors are still there, and in which order."""
    return path.with_suffix(".order.npy")


def sample(path: Path) -> Path:
    """The file of the queries that the index was measured with."""
    return path.with_suffix(".sample.npz")


def read(path: Path) -> Any:
    """The FAISS index in ``path``, memory-mapped as far as its kind can be.

    Raises:
        DamagedIndexError: FAISS cannot read the file.
    """
    faiss = faiss_module.load()
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        reason = faiss_module.reason(error)
        raise DamagedIndexError(f"{path} cannot be read ({reason}): restore or rebuild the index") from error


def write(index: Any, path: Path) -> None:
    """Write a FAISS index to ``path``."""
    faiss_module.load().write_index(index, str(path))
