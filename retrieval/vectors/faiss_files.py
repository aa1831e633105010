"""Reading and writing FAISS files, and the names of the files beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from retrieval.arrays import lazy
from retrieval.arrays.lazy import MatrixLike
from retrieval.errors import DamagedIndexError
from retrieval.vectors import faiss_module, hnsw_graph


def stored(path: Path) -> Path:
    """Return the file of half-precision vectors, beside an index that holds compressed ones."""
    return path.with_suffix(".vectors.faiss")


def added(path: Path) -> Path:
    """Return the file of vectors added after the index was built."""
    return path.with_suffix(".added.npy")


def order(path: Path) -> Path:
    """Return the file that lists the remaining vectors in their order."""
    return path.with_suffix(".order.npy")


def sample(path: Path) -> Path:
    """Return the file of the queries that the index was measured with."""
    return path.with_suffix(".sample.npz")


def read(path: Path) -> Any:
    """Read the FAISS index in ``path``, memory-mapped where its kind allows.

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
    """Write a FAISS index to ``path``; of a graph that uses the stored vectors, only the links."""
    faiss_module.load().write_index(index, str(path), hnsw_graph.write_flags(index))


def write_filled(empty: Any, vectors: MatrixLike, path: Path) -> None:
    """Write the index ``empty`` filled with ``vectors`` to ``path``; vectors are encoded and written in blocks.

    Args:
        empty: a trained FAISS index that consists of codes only (``IndexFlatCodes``).
        vectors: (n, d) float32.
        path: file to write.
    """
    faiss = faiss_module.load()
    one = faiss.clone_index(empty)
    one.add(np.zeros((1, one.d), np.float32))
    # The file starts with kind, dimension and count, and ends with the codes' length and the codes.
    head = faiss.serialize_index(one)[: -one.code_size]
    length = int(head[-8:].view("<u8")[0])
    head[8:16] = np.array([len(vectors)], "<u8").view(np.uint8)
    head[-8:] = np.array([len(vectors) * length], "<u8").view(np.uint8)
    with path.open("wb") as file:
        file.write(head.data)
        for block in lazy.blocks(vectors):
            file.write(one.sa_encode(vectors[block]).data)


def move(before: Path, path: Path) -> None:
    """Move a newly built index from ``before`` to ``path``, replacing the index there."""
    remove(path)
    for beside in (Path, stored):
        if beside(before).exists():
            beside(before).replace(beside(path))


def remove(path: Path) -> None:
    """Delete the newly built index at ``path``."""
    for beside in (Path, stored):
        beside(path).unlink(missing_ok=True)
