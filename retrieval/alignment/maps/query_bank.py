"""Query banks: two columns of the space that hold how similar a row is to its neighbours in another modality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.types import Matrix

NEAREST = 10
"""Number of nearest bank rows that are averaged, as in the paper (see ``hub_correction``)."""

CONSTANT = 0.35
"""Value of the column that is multiplied with the other modality's neighbour similarity. If it is larger, it takes up
the norm of the vectors and reduces the differences between scores within a modality. If it is smaller, the neighbour
similarities take up the norm instead, and within a modality they are multiplied with each other."""


@dataclass(frozen=True)
class QueryBank:
    """Rows of another modality that represent its possible queries.

    Attributes:
        rows: (m, k) float32 unit rows of the space, without the columns that banks add.
        weight: weight of the neighbour similarity in the score.
        mean_similarity: mean neighbour similarity; it is subtracted.
        column: column of the neighbour similarity. The constant for the other modality is in the adjacent column,
            ``column ^ 1``.
    """

    rows: Matrix
    weight: float
    mean_similarity: float
    column: int

    def columns(self, rows: Matrix, count: int) -> Matrix:
        """Return (n, count) float32 for (n, k) unit rows: neighbour similarity and constant, 0 elsewhere."""
        out = np.zeros((len(rows), count), np.float32)
        excess = neighbour_similarity(rows @ self.rows.T) - self.mean_similarity
        out[:, self.column] = -self.weight / CONSTANT * excess
        out[:, self.column ^ 1] = CONSTANT
        return out


def neighbour_similarity(similarities: Matrix) -> Matrix:
    """Return (n,) means of the ``NEAREST`` largest values in each row of (n, m) similarities; all if m is smaller."""
    count = min(NEAREST, similarities.shape[1])
    largest: Matrix = np.partition(similarities, -count, axis=1)[:, -count:]
    means: Matrix = largest.mean(axis=1)
    return means
