"""The interface of every vector index, and the order of its results."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from retrieval.types import Integers, Matrix
from retrieval.vectors import faiss_module

Explain = Callable[[str], None]
"""Receives sentences that describe how a search was done."""


def silent(_: str) -> None:
    """Ignore the explanation."""


class Subset:
    """Some rows of an index: made once for a filter, used by any number of searches.

    Attributes:
        rows: (m,) int64, ascending.
        count: number of rows of the whole index.
    """

    def __init__(self, rows: Integers, count: int) -> None:
        self.rows = np.ascontiguousarray(rows, dtype=np.int64)
        self.count = count

    @classmethod
    def of(cls, rows: Rows, count: int) -> Subset | None:
        """Return ``rows`` as a subset; None, which means all rows, if no row is excluded."""
        subset = rows if rows is None or isinstance(rows, cls) else cls(np.asarray(rows), count)
        return None if subset is None or len(subset) == count else subset

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def share(self) -> float:
        """Fraction of the index's rows in this subset."""
        return len(self.rows) / max(1, self.count)

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """(count,) bool: True for the rows in this subset."""
        mask = np.zeros(self.count, np.bool_)
        mask[self.rows] = True
        return mask

    @cached_property
    def bits(self) -> NDArray[np.uint8]:
        """The mask as a FAISS bitmap."""
        return np.packbits(self.mask, bitorder="little")

    def __str__(self) -> str:
        return f"{len(self):,} of {self.count:,} vectors ({self.share:.2%})"


def selector(subset: Subset) -> Any:
    """Return the FAISS selector of a subset; the subset must outlive it."""
    faiss = faiss_module.load()
    return faiss.IDSelectorBitmap(len(subset.bits), faiss.swig_ptr(subset.bits))


Rows: TypeAlias = Union["Integers", Subset, None]
"""The rows to search: an ascending (m,) int64 array, a subset, or all rows if None."""


class VectorIndex(Protocol):
    """Nearest neighbours by inner product among the vectors of one modality.

    Rows are numbered from 0 in the order they were added, which is ascending by item id. Among equal scores the
    lower row comes first, and so the lower id. The arguments of a search never change the index, and any number
    of threads may search it.
    """

    kind: str
    """Registered name of this kind of index."""

    exact: bool
    """Whether every search compares all vectors."""

    @property
    def dimension(self) -> int:
        """Number of columns of a vector."""
        ...

    def __len__(self) -> int:
        """Number of vectors."""
        ...

    def search(
        self, queries: Matrix, k: int, rows: Rows = None, *, explain: Explain = silent
    ) -> tuple[Matrix, Integers]:
        """Return the ``k`` best rows for each query; fewer only if fewer rows are searched.

        Args:
            queries: (q, dimension) float32.
            k: at least 1.
            rows: the rows to search.
            explain: receives a description of how they were searched.

        Returns:
            (q, k') float32 scores, descending, and (q, k') int64 rows, with k' = min(k, rows searched).
        """
        ...

    def vectors(self, rows: Integers | None = None) -> Matrix:
        """Return (m, dimension) float32: the vectors of these rows, or of all rows if None."""
        ...

    def save(self, path: Path) -> None:
        """Write the index to ``path``, and further files beside it that differ in the ending."""
        ...


def break_ties_by_row(
    search: Callable[[int], tuple[Matrix, Integers]], k: int, count: int
) -> tuple[Matrix, Integers]:
    """Return the ``k`` best results with ties broken by row, from a library that breaks ties arbitrarily.

    More than ``k`` results are requested until the last score is below the k-th for every query. Then all results
    that tie with the k-th are among them, and can be sorted.

    Args:
        search: returns the best (scores, rows) in any order, for a number of results.
        k: number of results to return.
        count: number of rows that can be found.
    """
    k = min(k, count)
    requested = min(k + 1, count)
    while True:
        scores, rows = search(requested)
        if (scores[:, 1:] < scores[:, :-1]).all():  # already sorted by the library, without ties
            return scores[:, :k], rows[:, :k]
        order = np.lexsort((rows, -scores))
        scores, rows = np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)
        if requested == count or bool((scores[:, -1] < scores[:, k - 1]).all()):
            return scores[:, :k], rows[:, :k]
        requested = min(requested * 2, count)


def empty_results(queries: Matrix, k: int) -> tuple[Matrix, Integers]:
    """Return empty results, for no queries or no rows."""
    return np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
