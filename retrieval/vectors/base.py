"""What every vector index is, and the order its answers come in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from retrieval.types import Integers, Matrix


class VectorIndex(Protocol):
    """Nearest neighbours by inner product among the vectors of one modality.

    Rows are numbered from 0 in the order they were added, which is ascending by item id: among equal scores
    the lower row comes first, and so the lower id. Nothing that is passed to a search changes the index.
    """

    kind: str
    """The name it is registered under."""

    @property
    def dimension(self) -> int:
        """Columns of a vector."""
        ...

    def __len__(self) -> int:
        """Number of vectors."""
        ...

    def search(self, queries: Matrix, k: int, rows: Integers | None = None) -> tuple[Matrix, Integers]:
        """The ``k`` best rows for each query.

        Args:
            queries: (q, dimension) float32.
            k: at least 1.
            rows: (m,) int64 ascending; only these are searched. All when None.

        Returns:
            (q, k') float32 scores, descending, and (q, k') int64 rows, with k' = min(k, rows searched).
        """
        ...

    def vectors(self, rows: Integers | None = None) -> Matrix:
        """(m, dimension) float32: the vectors of these rows, of all when None."""
        ...

    def save(self, path: Path) -> None:
        """Write it to ``path``."""
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
        order = np.lexsort((rows, -scores))
        scores, rows = np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)
        if asked == count or bool((scores[:, -1] < scores[:, k - 1]).all()):
            return scores[:, :k], rows[:, :k]
        asked = min(asked * 2, count)
