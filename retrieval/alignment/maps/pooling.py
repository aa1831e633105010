"""What of a feature row with parts an alignment reads: numbers alone, applied by NumPy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from retrieval.arrays.lazy import MappedRows, MatrixLike
from retrieval.encoders.base import ClassHead, PartLayout
from retrieval.errors import AlignmentError
from retrieval.types import Matrix


@dataclass(frozen=True)
class Reading:
    """y = w, the row of the whole alone; with a query y = [w, m], m being what the parts are pooled to.

    m = a_1 p_1 + a_2 p_2 + ..., where a is the softmax of p_i @ query / |w| over the parts that are there: absent parts
    weigh nothing, and with a query of zeros m is the mean of the others. Without any part it is zero.

    Attributes:
        parts: how rows hold them.
        query: (columns,) float32, the temperature divided in; None where parts are not looked at.
    """

    parts: PartLayout
    query: Matrix | None = None

    @property
    def columns(self) -> int:
        """Of y."""
        return self.parts.whole + (0 if self.query is None else self.parts.columns)

    def __call__(self, rows: Matrix) -> Matrix:
        """(n, columns) float32 of (n, parts.dimension) float32 rows.

        Raises:
            AlignmentError: the rows have another dimension.
        """
        if rows.ndim != 2 or rows.shape[1] != self.parts.dimension:
            raise AlignmentError(
                f"features have shape {rows.shape}, but the alignment was fitted on {self.parts.dimension} "
                "columns, those of parts among them: use the encoder it was fitted with, or fit it again"
            )
        whole = rows[:, : self.parts.whole]
        if self.query is None:
            return whole
        pooled = np.einsum("np,npc->nc", self.weights(rows), self.parts.split(rows))
        return np.concatenate([whole, pooled], axis=1)

    def weights(self, rows: Matrix) -> Matrix:
        """(n, count) of the parts of (n, parts.dimension) rows, summing to 1 where there is any part."""
        query = np.zeros(self.parts.columns, np.float32) if self.query is None else self.query
        parts, norms = (
            self.parts.split(rows),
            np.linalg.norm(rows[:, : self.parts.whole], axis=1, keepdims=True),
        )
        there = parts.any(axis=2)
        scores = np.where(there, parts @ query / np.maximum(norms, 1e-12), np.finfo(np.float32).min)
        weights: Matrix = np.exp(scores - scores.max(axis=1, keepdims=True)) * there
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1)  # the largest is 1, unless there is none
        return weights

    def of_head(self, head: ClassHead) -> ClassHead:
        """A classifier of feature rows as one of y; it looks at the whole alone."""
        weights = np.zeros((len(head.weights), self.columns), np.float32)
        weights[:, : self.parts.whole] = head.weights[:, : self.parts.whole]
        return replace(head, weights=weights)

    def of(self, rows: MatrixLike) -> MatrixLike:
        """The same of each row of a matrix, when it is asked for."""
        return MappedRows(rows, self, self.columns)
