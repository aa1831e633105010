"""What every vector index is, and the order its answers come in."""

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
"""Told in a sentence what a search did."""


def silent(_: str) -> None:
    """Explain nothing."""


class Subset:
    """Some of an index's rows: made once for a filter, and used by any number of searches.

    Attributes:
        rows: (m,) int64, ascending.
        count: rows of the whole index.
    """

    def __init__(self, rows: Integers, count: int) -> None:
        self.rows = np.ascontiguousarray(rows, dtype=np.int64)
        self.count = count

    @classmethod
    def of(cls, rows: Rows, count: int) -> Subset | None:
        """``rows`` as a subset; None, which stands for all of them, where none is left out."""
        subset = rows if rows is None or isinstance(rows, cls) else cls(np.asarray(rows), count)
        return None if subset is None or len(subset) == count else subset

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def share(self) -> float:
        """Which part of the index it is."""
        return len(self.rows) / max(1, self.count)

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """(count,) bool."""
        mask = np.zeros(self.count, np.bool_)
        mask[self.rows] = True
        return mask

    @cached_property
    def bits(self) -> NDArray[np.uint8]:
        """The mask as FAISS's bitmap."""
        return np.packbits(self.mask, bitorder="little")

    def __str__(self) -> str:
        return f"{len(self):,} of {self.count:,} vectors ({self.share:.2%})"


def selector(subset: Subset) -> Any:
    """The subset for FAISS; it has to outlive what is returned."""
    faiss = faiss_module.load()
    return faiss.IDSelectorBitmap(len(subset.bits), faiss.swig_ptr(subset.bits))


Rows: TypeAlias = Union["Integers", Subset, None]
"""Which rows to search: an ascending (m,) int64 array, a subset, or all when None."""


class VectorIndex(Protocol):
    """Nearest neighbours by inner product among the vectors of one modality.

    Rows are numbered from 0 in the order they were added, which is ascending by item id: among equal scores
    the lower row comes first, and so the lower id. Nothing that is passed to a search changes the index, and
    any number of threads may search it.
    """

    kind: str
    """The name it is registered under."""

    exact: bool
    """Whether every vector is compared."""

    @property
    def dimension(self) -> int:
        """Columns of a vector."""
        ...

    def __len__(self) -> int:
        """Number of vectors."""
        ...

    def search(
        self, queries: Matrix, k: int, rows: Rows = None, *, explain: Explain = silent
    ) -> tuple[Matrix, Integers]:
        """The ``k`` best rows for each query: always as many as there are.

        Args:
            queries: (q, dimension) float32.
            k: at least 1.
            rows: only these are searched.
            explain: is told how they were searched.

        Returns:
            (q, k') float32 scores, descending, and (q, k') int64 rows, with k' = min(k, rows searched).
        """
        ...

    def vectors(self, rows: Integers | None = None) -> Matrix:
        """(m, dimension) float32: the vectors of these rows, of all when None."""
        ...

    def save(self, path: Path) -> None:
        """Write it to ``path``, and what else it needs to files that differ from it in the ending."""
        ...


def in_order(search: Callable[[int], tuple[Matrix, Integers]], k: int, count: int) -> tuple[Matrix, Integers]:
    """Answers of a library that breaks ties as it likes, with ties broken by row.

    More than ``k`` are asked for, until the last score is below the k-th for every query: then whatever ties
    with the k-th is among them, and a stable order can be made.

    Args:
        search: given a number, that many best (scores, rows), in any order.
        k: how many are wanted.
        count: how many there are to be found.
    """
    k = min(k, count)
    asked = min(k + 1, count)
    while True:
        scores, rows = search(asked)
        if (scores[:, 1:] < scores[:, :-1]).all():  # as they come from a library that sorts, without ties
            return scores[:, :k], rows[:, :k]
        order = np.lexsort((rows, -scores))
        scores, rows = np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)
        if asked == count or bool((scores[:, -1] < scores[:, k - 1]).all()):
            return scores[:, :k], rows[:, :k]
        asked = min(asked * 2, count)


def empty(queries: Matrix, k: int) -> tuple[Matrix, Integers]:
    """Answers where there is nothing to ask or nothing to find."""
    return np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
