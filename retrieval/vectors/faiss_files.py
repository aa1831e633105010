"""FAISS's files, and the names of those that stand beside one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from retrieval.arrays import lazy
from retrieval.arrays.lazy import MatrixLike
from retrieval.errors import DamagedIndexError
from retrieval.vectors import faiss_module, hnsw_graph


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
    """Write a FAISS index to ``path``: of a graph that walks over stored vectors, the links alone."""
    faiss_module.load().write_index(index, str(path), hnsw_graph.flags(index))


def write_filled(empty: Any, vectors: MatrixLike, path: Path) -> None:
    """Write to ``path`` what ``empty`` would be if it held ``vectors``, which are encoded and written in blocks.

    Args:
        empty: an index of FAISS, trained, that is nothing but its codes (``IndexFlatCodes``).
        vectors: (n, d) float32.
        path: of the file.
    """
    faiss = faiss_module.load()
    one = faiss.clone_index(empty)
    one.add(np.zeros((1, one.d), np.float32))
    # Kind, dimension and count come first, the codes' length and the codes last.
    head = faiss.serialize_index(one)[: -one.code_size]
    length = int(head[-8:].view("<u8")[0])
    head[8:16] = np.array([len(vectors)], "<u8").view(np.uint8)
    head[-8:] = np.array([len(vectors) * length], "<u8").view(np.uint8)
    with path.open("wb") as file:
        file.write(head.data)
        for block in lazy.blocks(vectors):
            file.write(one.sa_encode(vectors[block]).data)


def move(before: Path, path: Path) -> None:
    """Give an index, as it was built at ``before``, the name ``path``, in the place of one that was built there."""
    remove(path)
    for beside in (Path, stored):
        if beside(before).exists():
            beside(before).replace(beside(path))


def remove(path: Path) -> None:
    """Remove an index, as it was built at ``path``."""
    for beside in (Path, stored):
        beside(path).unlink(missing_ok=True)
