"""Vectors at half precision in a memory-mapped file: what an index that holds less of them re-ranks from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval import rows
from retrieval.rows import MatrixLike
from retrieval.types import Integers, Matrix
from retrieval.vectors import faiss_module, files, scan
from retrieval.vectors.base import Subset, in_order, selector

ADDED_AT_ONCE = 65_536

FEW = 16
"""Queries up to which FAISS goes through the vectors faster than a matrix product: it need not make them float32."""


class Stored:
    """(n, d) float16 numbers that are given as float32, a slice or an array of rows at a time.

    Attributes:
        index: the same as FAISS's ``IndexScalarQuantizer``, which it reads without a copy.
    """

    def __init__(self, index: Any) -> None:
        self.index = index
        self.shape = (int(index.ntotal), int(index.d))
        codes = faiss_module.load().rev_swig_ptr(index.codes.data(), index.codes.size())
        self._codes: NDArray[np.uint8] = codes.reshape(self.shape[0], 2 * self.shape[1])

    @classmethod
    def build(cls, vectors: MatrixLike, path: Path | None = None) -> Stored:
        """``vectors`` (n, d) float32 at half precision: in memory, or as ``load`` opens them, written to ``path``."""
        faiss = faiss_module.load()
        half = faiss.ScalarQuantizer.QT_fp16
        index = faiss.IndexScalarQuantizer(int(vectors.shape[1]), half, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors[:1])  # there is nothing to learn, but FAISS wants to be asked
        if path is not None:
            files.write_filled(index, vectors, path)
            return cls.load(path)
        for block in rows.blocks(vectors):
            index.add(np.ascontiguousarray(vectors[block]))
        return cls(index)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Matrix:
        # Copied as bytes first: in the file the numbers stand at odd addresses.
        halves = np.array(self._codes[rows]).view(np.float16)
        return halves.astype(np.float32)

    def best(self, queries: Matrix, k: int, subset: Subset | None) -> tuple[Matrix, Integers]:
        """The ``k`` best rows of each query, exactly, as ``scan.best`` finds them."""
        count = len(self) if subset is None else len(subset)
        if len(queries) > FEW or not (count and len(queries)):
            return scan.best(queries, self, k, None if subset is None else subset.rows)
        options = {} if subset is None else {"sel": selector(subset)}
        parameters = faiss_module.load().SearchParameters(**options)
        return in_order(lambda asked: self.index.search(queries, asked, params=parameters), k, count)

    def save(self, path: Path) -> None:
        """Write FAISS's own format."""
        files.write(self.index, path)

    @classmethod
    def load(cls, path: Path) -> Stored:
        """Read what ``save`` wrote, memory-mapped.

        Raises:
            DamagedIndexError: FAISS cannot read the file.
        """
        return cls(files.read(path))
