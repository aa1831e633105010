"""Half-precision vectors in a memory-mapped file, used to re-rank candidates of a compressed index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.arrays import lazy
from retrieval.arrays.lazy import MatrixLike
from retrieval.types import Integers, Matrix
from retrieval.vectors import faiss_files, faiss_module, scan
from retrieval.vectors.base import Subset, break_ties_by_row, selector

FEW_QUERIES = 16
"""Up to this many queries FAISS is faster than a matrix product: it need not convert the vectors to float32."""

SPARSE_SHARE = 1 / 64
"""Subsets up to this share of the vectors are gathered and compared. FAISS skips a vector outside the subset in 1.7 ns
and compares one inside in 70 ns; gathering and comparing one takes 160 ns."""


_SIGN_AND_VALUE_BITS = np.uint32(0x8FFFE000).view(np.int32)
_SCALE = np.float32(2.0 ** (127 - 15))


class HalfPrecisionVectors:
    """(n, d) float16 vectors, read as float32 by a slice or an array of rows.

    Attributes:
        index: the FAISS ``IndexScalarQuantizer`` that holds the vectors; they are read from it without a copy.
    """

    def __init__(self, index: Any) -> None:
        self.index = index
        self.shape = (int(index.ntotal), int(index.d))
        codes = faiss_module.load().rev_swig_ptr(index.codes.data(), index.codes.size())
        self._codes: NDArray[np.uint8] = codes.reshape(self.shape[0], 2 * self.shape[1])

    @classmethod
    def build(cls, vectors: MatrixLike, path: Path | None = None) -> HalfPrecisionVectors:
        """Store ``vectors`` (n, d) float32 at half precision: in memory, or written to ``path`` and loaded from it."""
        faiss = faiss_module.load()
        half = faiss.ScalarQuantizer.QT_fp16
        index = faiss.IndexScalarQuantizer(int(vectors.shape[1]), half, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors[:1])  # nothing is learned, but FAISS requires the call
        if path is not None:
            faiss_files.write_filled(index, vectors, path)
            return cls.load(path)
        for block in lazy.blocks(vectors):
            index.add(np.ascontiguousarray(vectors[block]))
        return cls(index)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def bytes(self) -> int:
        """Size of all vectors in bytes."""
        return int(self._codes.nbytes)

    def __getitem__(self, rows: Any) -> Matrix:
        # Copied as bytes first, because the numbers are not aligned in the file.
        codes = self._codes[rows].copy() if isinstance(rows, slice) else self._codes.take(rows, axis=0)
        return decode(codes.view(np.float16))

    def best(self, queries: Matrix, k: int, subset: Subset | None) -> tuple[Matrix, Integers]:
        """Return the exact ``k`` best rows of each query, as ``scan.best`` does."""
        count = len(self) if subset is None else len(subset)
        if len(queries) > FEW_QUERIES or not (count and len(queries)):
            return scan.best(queries, self, k, None if subset is None else subset.rows)
        if subset is not None and subset.share <= SPARSE_SHARE:
            return scan.best_by_pairs(queries, self, k, subset.rows)
        options = {} if subset is None else {"sel": selector(subset)}
        parameters = faiss_module.load().SearchParameters(**options)

        def search(requested: int) -> tuple[Matrix, Integers]:
            best: tuple[Matrix, Integers] = faiss_module.search(self.index, queries, requested, parameters)
            return best

        return break_ties_by_row(search, k, count)

    def save(self, path: Path) -> None:
        """Write the vectors in the FAISS format."""
        faiss_files.write(self.index, path)

    @classmethod
    def load(cls, path: Path) -> HalfPrecisionVectors:
        """Open vectors written by ``save``, memory-mapped.

        Raises:
            DamagedIndexError: FAISS cannot read the file.
        """
        return cls(faiss_files.read(path))


def decode(halves: NDArray[np.float16]) -> Matrix:
    """Convert ``halves``, finite and contiguous, to float32.

    Faster than ``astype``, which converts one number at a time. Sign, exponent and fraction are shifted to their
    positions in float32. The exponent bias, 15 in float16 and 127 in float32, is corrected by a multiplication.
    Denormals are converted correctly, too.
    """
    bits = halves.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= _SIGN_AND_VALUE_BITS  # the shift has copied the sign into the bits below it
    numbers = bits.view(np.float32)
    numbers *= _SCALE
    return numbers
