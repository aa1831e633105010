"""Exact search with NumPy alone: the reference that every other index is measured against."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from retrieval.arrays import npy
from retrieval.arrays.lazy import MatrixLike
from retrieval.types import Integers, Matrix
from retrieval.vectors.base import Explain, Rows, Subset, silent


class ExactIndex:
    """Computes and sorts all inner products: slow, but certainly correct."""

    kind = "exact"
    exact = True

    def __init__(self, vectors: Matrix) -> None:
        self._vectors = np.ascontiguousarray(vectors, dtype=np.float32)

    @classmethod
    def build(cls, vectors: MatrixLike, path: Path | None = None) -> ExactIndex:
        """Build an index that holds all ``vectors`` (n, dimension) float32; also write it to ``path``, if set."""
        index = cls(vectors[:])
        if path is not None:
            index.save(path)
        return index

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
        explain("every vector is compared, by NumPy")
        rows = rows.rows if isinstance(rows, Subset) else rows
        rows = np.arange(len(self), dtype=np.int64) if rows is None else rows
        scores = queries @ self._vectors[rows].T
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, order, axis=1), rows[order]

    def vectors(self, rows: Integers | None = None) -> Matrix:
        """See ``VectorIndex.vectors``."""
        return self._vectors if rows is None else self._vectors[rows]

    def save(self, path: Path) -> None:
        """Write the vectors as a NumPy file."""
        npy.write(path, self._vectors)

    @classmethod
    def load(cls, path: Path, *, device: str = "cpu") -> ExactIndex:  # noqa: ARG003 - same signature for every kind
        """Read an index written by ``save``."""
        return cls(npy.read(path))
