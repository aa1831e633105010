"""Exact search over vectors in a FAISS file, on the CPU or on GPUs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from retrieval.arrays import lazy
from retrieval.arrays.lazy import MatrixLike
from retrieval.types import Integers, Matrix
from retrieval.vectors import faiss_files, faiss_gpu, faiss_module, scan
from retrieval.vectors.base import Explain, Rows, Subset, break_ties_by_row, empty_results, silent


class FlatIndex:
    """Compares every vector (``faiss.IndexFlatIP``).

    On the CPU by a matrix product over the memory-mapped vectors, on GPUs by FAISS. The file always holds the CPU
    index.
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
        self._on_gpu: Any = faiss_gpu.to_gpus(index) if device == "cuda" else None
        shape = (index.ntotal, index.d)
        numbers = faiss_module.load().rev_swig_ptr(index.get_xb(), shape[0] * shape[1])
        self._vectors: Matrix = numbers.reshape(shape) if index.ntotal else np.empty(shape, np.float32)

    @classmethod
    def build(cls, vectors: MatrixLike, path: Path | None = None) -> FlatIndex:
        """Build an index of ``vectors`` (n, dimension) float32: in memory, or written to ``path`` and loaded."""
        index = faiss_module.load().IndexFlatIP(int(vectors.shape[1]))
        if path is not None:
            faiss_files.write_filled(index, vectors, path)
            return cls.load(path)
        for block in lazy.blocks(vectors):
            index.add(np.ascontiguousarray(vectors[block], dtype=np.float32))
        return cls(index)

    @property
    def dimension(self) -> int:
        """Number of columns of a vector."""
        return int(self._vectors.shape[1])

    def __len__(self) -> int:
        """Number of vectors."""
        return len(self._vectors)

    def search(
        self, queries: Matrix, k: int, rows: Rows = None, *, explain: Explain = silent
    ) -> tuple[Matrix, Integers]:
        """See ``VectorIndex.search``."""
        subset = Subset.of(rows, len(self))
        explain("every vector is compared" if subset is None else f"only {subset} are compared")
        if self._on_gpu is None or subset is not None:  # FAISS on GPUs cannot search a subset
            return scan.best(queries, self._vectors, k, None if subset is None else subset.rows)
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        if not len(self) or not len(queries):
            return empty_results(queries, min(k, len(self)))

        def search(requested: int) -> tuple[Matrix, Integers]:
            best: Integers = self._on_gpu.search(queries, requested)[1]
            return scan.score_rows(queries, self._vectors, best), best

        return break_ties_by_row(search, k, len(self))

    def vectors(self, rows: Integers | None = None) -> Matrix:
        """See ``VectorIndex.vectors``."""
        return self._vectors if rows is None else self._vectors[rows]

    def save(self, path: Path) -> None:
        """Write the index in the FAISS format."""
        faiss_files.write(self._stored, path)

    @classmethod
    def load(cls, path: Path, *, device: str = "cpu") -> FlatIndex:
        """Open an index written by ``save``, memory-mapped.

        Raises:
            DamagedIndexError: FAISS cannot read the file.
        """
        return cls(faiss_files.read(path), device=device)
