"""Pooling of feature rows that hold parts: arrays only, applied with NumPy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from retrieval.arrays.lazy import MappedRows, MatrixLike
from retrieval.encoders.base import ClassHead, PartLayout
from retrieval.errors import AlignmentError
from retrieval.types import Matrix


@dataclass(frozen=True)
class PartPooling:
    """Attention pooling of a row: y = w, the features of the whole; with a query y = [w, m], m the pooled parts.

    m = a_1 p_1 + a_2 p_2 + ..., where a is the softmax of p_i @ query / |w| over the parts that are present. Absent
    parts have weight 0. With a query of zeros m is the mean of the present parts. Without any part m is zero.

    Attributes:
        parts: the layout of the parts in a row.
        query: (columns,) float32, already divided by the temperature; None to ignore the parts.
    """

    parts: PartLayout
    query: Matrix | None = None

    @property
    def columns(self) -> int:
        """Number of columns of y."""
        return self.parts.whole + (0 if self.query is None else self.parts.columns)

    def __call__(self, rows: Matrix) -> Matrix:
        """Return (n, columns) float32 for (n, parts.dimension) float32 rows.

        Raises:
            AlignmentError: the rows have another dimension.
        """
        if rows.ndim != 2 or rows.shape[1] != self.parts.dimension:
            raise AlignmentError(
                f"features have shape {rows.shape}, but the alignment was fitted on {self.parts.dimension} "
                "columns, including those of parts: use the encoder it was fitted with, or fit it again"
            )
        whole = rows[:, : self.parts.whole]
        if self.query is None:
            return whole
        pooled = np.einsum("np,npc->nc", self.weights(rows), self.parts.split(rows))
        return np.concatenate([whole, pooled], axis=1)

    def weights(self, rows: Matrix) -> Matrix:
        """Return (n, count) part weights for (n, parts.dimension) rows; they sum to 1 if there is any part."""
        query = np.zeros(self.parts.columns, np.float32) if self.query is None else self.query
        parts, norms = (
            self.parts.split(rows),
            np.linalg.norm(rows[:, : self.parts.whole], axis=1, keepdims=True),
        )
        present = parts.any(axis=2)
        scores = np.where(present, parts @ query / np.maximum(norms, 1e-12), np.finfo(np.float32).min)
        weights: Matrix = np.exp(scores - scores.max(axis=1, keepdims=True)) * present
        weights /= np.maximum(
            weights.sum(axis=1, keepdims=True), 1
        )  # the largest is 1 unless no part is present
        return weights

    def adapt_head(self, head: ClassHead) -> ClassHead:
        """Return a classifier of feature rows as a classifier of y; it reads the features of the whole only."""
        weights = np.zeros((len(head.weights), self.columns), np.float32)
        weights[:, : self.parts.whole] = head.weights[:, : self.parts.whole]
        return replace(head, weights=weights)

    def lazily(self, rows: MatrixLike) -> MatrixLike:
        """Return a matrix that pools each row when it is read."""
        return MappedRows(rows, self, self.columns)
