"""Exact search in vectors as FAISS stores them, on the CPU or on GPUs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from retrieval.arrays import lazy as rows_of
from retrieval.arrays.lazy import MatrixLike
from retrieval.types import Integers, Matrix
from retrieval.vectors import faiss_files, faiss_gpu, faiss_module, scan
from retrieval.vectors.base import Explain, Rows, Subset, empty, in_order, silent


class FlatIndex:
    """``faiss.IndexFlatIP``: every vector is compared.

    On the CPU by a matrix product over the memory-mapped vectors, on GPUs by FAISS; what is written to disk
    is always the CPU's.
    """

    kind = "flat"
    exact = True

    def __init__(self, index: Any, *, device: str = "cpu") -> None:
        """Wrap a FAISS flat index.

        Raises:
            DependencyError: ``device`` is ``"cuda"`` and the FAISS installed has no GPU support.
            DeviceError: FAISS finds no GPU.
        """
        self._stored = index
        self._placed: Any = faiss_gpu.place(index) if device == "cuda" else None
        shape = (index.ntotal, index.d)
        numbers = faiss_module.load().rev_swig_ptr(index.get_xb(), shape[0] * shape[1])
        self._vectors: Matrix = numbers.reshape(shape) if index.ntotal else np.empty(shape, np.float32)

    @classmethod
    def build(cls, vectors: MatrixLike, path: Path | None = None) -> FlatIndex:
        """An index of ``vectors`` (n, dimension) float32: in memory, or as ``load`` opens it, written to ``path``."""
        index = faiss_module.load().IndexFlatIP(int(vectors.shape[1]))
        if path is not None:
            faiss_files.write_filled(index, vectors, path)
            return cls.load(path)
        for block in rows_of.blocks(vectors):
            index.add(np.ascontiguousarray(vectors[block], dtype=np.float32))
        return cls(index)

    @property
    def dimension(self) -> int:
        """Columns of a vector."""
        return int(self._vectors.shape[1])

    def __len__(self) -> int:
        """Number of vectors."""
        return len(self._vectors)

    def search(
        self, queries: Matrix, k: int, rows: Rows = None, *, explain: Explain = silent
    ) -> tuple[Matrix, Integers]:
        """See ``VectorIndex.search``."""
        subset = Subset.of(rows, len(self))
        explain("every vector is compared" if subset is None else f"just {subset} are compared")
        if self._placed is None or subset is not None:  # GPUs know no subsets
            return scan.best(queries, self._vectors, k, None if subset is None else subset.rows)
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        if not len(self) or not len(queries):
            return empty(queries, min(k, len(self)))

        def search(asked: int) -> tuple[Matrix, Integers]:
            found: Integers = self._placed.search(queries, asked)[1]
            return scan.score(queries, self._vectors, found), found

        return in_order(search, k, len(self))

    def vectors(self, rows: Integers | None = None) -> Matrix:
        """See ``VectorIndex.vectors``."""
        return self._vectors if rows is None else self._vectors[rows]

    def save(self, path: Path) -> None:
        """Write FAISS's own format."""
        faiss_files.write(self._stored, path)

    @classmethod
    def load(cls, path: Path, *, device: str = "cpu") -> FlatIndex:
        """Read what ``save`` wrote, memory-mapped.

        Raises:
            DamagedIndexError: FAISS cannot read the file.
        """
        return cls(faiss_files.read(path), device=device)
