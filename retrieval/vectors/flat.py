"""Exact search with FAISS, on the CPU or a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from retrieval.errors import DamagedIndexError, DependencyError
from retrieval.types import Integers, Matrix
from retrieval.vectors import faiss_module
from retrieval.vectors.base import in_order

QUERIES_AT_ONCE = 64
"""Queries whose answers are scored again at once; bounds the memory that takes."""


class FlatIndex:
    """``faiss.IndexFlatIP``: every vector is compared.

    On a GPU the same index is copied there (faiss-gpu); what is written to disk is always the CPU's.
    """

    kind = "flat"

    def __init__(self, index: Any, *, device: str = "cpu") -> None:
        """Wrap a FAISS flat index.

        Raises:
            DependencyError: ``device`` is ``"cuda"`` and the FAISS installed has no GPU support.
        """
        self._stored = index
        self._index = _to_gpu(index) if device == "cuda" else index

    @classmethod
    def build(cls, vectors: Matrix) -> FlatIndex:
        """An index of ``vectors`` (n, dimension) float32."""
        index = faiss_module.load().IndexFlatIP(int(vectors.shape[1]))
        index.add(np.ascontiguousarray(vectors, dtype=np.float32))
        return cls(index)

    @property
    def dimension(self) -> int:
        """Columns of a vector."""
        return int(self._stored.d)

    def __len__(self) -> int:
        """Number of vectors."""
        return int(self._stored.ntotal)

    def search(self, queries: Matrix, k: int, rows: Integers | None = None) -> tuple[Matrix, Integers]:
        """See ``VectorIndex.search``."""
        faiss = faiss_module.load()
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        count = len(self) if rows is None else len(rows)
        if not count or not len(queries):
            empty = (len(queries), min(k, count))
            return np.empty(empty, np.float32), np.empty(empty, np.int64)
        # Parameters travel with the call: the index is shared by threads and must not change. The selector
        # has to outlive them, and is known to the CPU's index alone.
        selector = None if rows is None else faiss.IDSelectorBatch(rows)
        index = self._index if rows is None else self._stored
        parameters = None if rows is None else faiss.SearchParameters(sel=selector)

        def search(asked: int) -> tuple[Matrix, Integers]:
            found: Integers = index.search(queries, asked, params=parameters)[1]
            return self._scores(queries, found), found

        return in_order(search, k, count)

    def _scores(self, queries: Matrix, rows: Integers) -> Matrix:
        """(q, k) inner products, equal for equal vectors, which those of FAISS need not be.

        A matrix product sums in another order at the edge of a block; here every pair is summed alike.
        """
        scores = np.empty(rows.shape, np.float32)
        for at in range(0, len(queries), QUERIES_AT_ONCE):
            block = slice(at, at + QUERIES_AT_ONCE)
            found = self.vectors(rows[block].ravel()).reshape(*rows[block].shape, self.dimension)
            np.einsum("qkd,qd->qk", found, queries[block], out=scores[block])
        return scores

    def vectors(self, rows: Integers | None = None) -> Matrix:
        """See ``VectorIndex.vectors``."""
        wanted = np.arange(len(self), dtype=np.int64) if rows is None else rows
        vectors: Matrix = self._stored.reconstruct_batch(wanted).reshape(-1, self.dimension)
        return vectors

    def save(self, path: Path) -> None:
        """Write FAISS's own format."""
        faiss_module.load().write_index(self._stored, str(path))

    @classmethod
    def load(cls, path: Path, *, device: str = "cpu") -> FlatIndex:
        """Read what ``save`` wrote, memory-mapped on the CPU.

        Raises:
            DamagedIndexError: FAISS cannot read the file.
        """
        faiss = faiss_module.load()
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if device == "cpu" else 0)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise DamagedIndexError(
                f"{path} cannot be read ({reason}): restore or rebuild the index"
            ) from error
        return cls(index, device=device)


def _to_gpu(index: Any) -> Any:
    faiss = faiss_module.load()
    if not hasattr(faiss, "StandardGpuResources"):
        raise DependencyError(
            "this FAISS has no GPU support: pip uninstall faiss-cpu && pip install faiss-gpu, or --device cpu"
        )
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
