"""How near a row is to what may ask for it: two columns of the space, computed from a bank of rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.types import Matrix

NEAREST = 10
"""Rows of the bank that count: the paper's (see ``hubness``)."""

CONSTANT = 0.35
"""Column that the nearness of the other modality meets. Larger, and it takes up the vectors' norm and with it the
difference between scores within a modality; smaller, and the nearnesses do, which then meet each other there."""


@dataclass(frozen=True)
class Bank:
    """Rows of another modality that stand for what may ask.

    Attributes:
        rows: (m, k) float32 unit rows of the space without the columns for nearness.
        weight: of nearness in the score.
        level: mean nearness, which takes no part.
        column: of nearness; the constant for the other modality is in its neighbour, ``column ^ 1``.
    """

    rows: Matrix
    weight: float
    level: float
    column: int

    def columns(self, rows: Matrix, count: int) -> Matrix:
        """(n, count) float32: nearness and constant of (n, k) unit rows, 0 elsewhere."""
        out = np.zeros((len(rows), count), np.float32)
        excess = nearness(rows @ self.rows.T) - self.level
        out[:, self.column] = -self.weight / CONSTANT * excess
        out[:, self.column ^ 1] = CONSTANT
        return out


def nearness(similarities: Matrix) -> Matrix:
    """(n,) mean of the ``NEAREST`` largest of each row of (n, m) similarities, of all if there are fewer."""
    kept = min(NEAREST, similarities.shape[1])
    largest: Matrix = np.partition(similarities, -kept, axis=1)[:, -kept:]
    means: Matrix = largest.mean(axis=1)
    return means
