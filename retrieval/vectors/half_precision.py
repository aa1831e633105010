"""Vectors at half precision in a memory-mapped file: what an index that holds less of them re-ranks from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.arrays import lazy
from retrieval.arrays.lazy import MatrixLike
from retrieval.types import Integers, Matrix
from retrieval.vectors import faiss_files, faiss_module, scan
from retrieval.vectors.base import Subset, in_order, selector

FEW = 16
"""Queries up to which FAISS goes through the vectors faster than a matrix product: it need not make them float32."""

SPARSE = 1 / 64
"""Share of the vectors up to which those that count are taken out and compared. FAISS passes over a vector that does
not count in 1.7 ns and compares one that does in 70; taken out, one takes 160."""


_KEPT = np.uint32(0x8FFFE000).view(np.int32)
_SCALE = np.float32(2.0 ** (127 - 15))


class HalfPrecisionVectors:
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
    def build(cls, vectors: MatrixLike, path: Path | None = None) -> HalfPrecisionVectors:
        """``vectors`` (n, d) float32 at half precision: in memory, or as ``load`` opens them, written to ``path``."""
        faiss = faiss_module.load()
        half = faiss.ScalarQuantizer.QT_fp16
        index = faiss.IndexScalarQuantizer(int(vectors.shape[1]), half, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors[:1])  # there is nothing to learn, but FAISS wants to be asked
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
        """Of all the vectors."""
        return int(self._codes.nbytes)

    def __getitem__(self, rows: Any) -> Matrix:
        # Copied as bytes first: in the file the numbers stand at odd addresses.
        codes = self._codes[rows].copy() if isinstance(rows, slice) else self._codes.take(rows, axis=0)
        return decoded(codes.view(np.float16))

    def best(self, queries: Matrix, k: int, subset: Subset | None) -> tuple[Matrix, Integers]:
        """The ``k`` best rows of each query, exactly, as ``scan.best`` finds them."""
        count = len(self) if subset is None else len(subset)
        if len(queries) > FEW or not (count and len(queries)):
            return scan.best(queries, self, k, None if subset is None else subset.rows)
        if subset is not None and subset.share <= SPARSE:
            return scan.few(queries, self, k, subset.rows)
        options = {} if subset is None else {"sel": selector(subset)}
        parameters = faiss_module.load().SearchParameters(**options)

        def search(asked: int) -> tuple[Matrix, Integers]:
            found: tuple[Matrix, Integers] = faiss_module.searched(self.index, queries, asked, parameters)
            return found

        return in_order(search, k, count)

    def save(self, path: Path) -> None:
        """Write FAISS's own format."""
        faiss_files.write(self.index, path)

    @classmethod
    def load(cls, path: Path) -> HalfPrecisionVectors:
        """Read what ``save`` wrote, memory-mapped.

        Raises:
            DamagedIndexError: FAISS cannot read the file.
        """
        return cls(faiss_files.read(path))


def decoded(halves: NDArray[np.float16]) -> Matrix:
    """``halves``, finite and contiguous, as float32.

    What ``astype`` does a number at a time is done here to many at once: sign, exponent and fraction are moved to
    where float32 has them, and the exponents, which float16 counts from 15 and float32 from 127, are made up for by a
    product. Denormals come out right as well.
    """
    bits = halves.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= _KEPT  # the sign was extended over the bits below it
    numbers = bits.view(np.float32)
    numbers *= _SCALE
    return numbers
