"""Means and covariances of several views of the same items, in one pass over blocks in any order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import AlignmentError

BLOCK_ROWS = 8192
"""Number of rows multiplied at a time. Besides its product, each block costs passes over (D, D) matrices."""


@dataclass(frozen=True)
class Covariances:
    """Joint first and second moments of V views; memory depends only on the dimensions.

    Each block is centred by its own mean and multiplied in its own precision. Blocks are added in float64 with the
    pairwise update of Chan, Golub and LeVeque (1983), so neither a large mean nor many rows reduce accuracy. The
    update also runs backwards: removing a fold costs one subtraction instead of another pass.

    Attributes:
        dimensions: number of columns of each view; D is their sum.
        count: number of rows.
        mean: (D,) float64, the views side by side.
        scatter: (D, D) float64, the sum over rows of (z - mean)(z - mean)^T.
    """

    dimensions: tuple[int, ...]
    count: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]

    @classmethod
    def empty(cls, *dimensions: int) -> Covariances:
        """Return the covariances of no rows, for views with these numbers of columns."""
        total = sum(dimensions)
        return cls(dimensions, 0, np.zeros(total), np.zeros((total, total)))

    @classmethod
    def of(cls, *views: NDArray[np.floating]) -> Covariances:
        """Return the covariances of one block: views (n, d_v), where row i of each is the same item.

        Raises:
            AlignmentError: the views differ in their number of rows.
        """
        dimensions, counts = zip(*((view.shape[1], len(view)) for view in views), strict=True)
        if len(set(counts)) != 1:
            raise AlignmentError(f"views of the same items need equal numbers of rows, not {counts}")
        if counts[0] == 0:
            return cls.empty(*dimensions)
        joint = np.concatenate(views, axis=1)
        mean = joint.mean(axis=0, dtype=np.float64)
        joint -= mean.astype(joint.dtype)
        # The mean was rounded to the block's precision before it was subtracted: correct for the remainder.
        remainder = joint.mean(axis=0, dtype=np.float64)
        scatter = (joint.T @ joint).astype(np.float64)
        # In place from here on: these matrices are larger than the CPU caches, so every pass over one is slow.
        shift = np.outer(remainder, remainder)
        shift *= counts[0]
        scatter -= shift
        return cls(dimensions, counts[0], mean, scatter)

    def merge(self, other: Covariances) -> Covariances:
        """Return the covariances of the rows of both."""
        return self._combine(other, sign=1)

    def without(self, other: Covariances) -> Covariances:
        """Return the covariances without the rows of ``other``, which must be among these rows."""
        return self._combine(other, sign=-1)

    def _combine(self, other: Covariances, sign: int) -> Covariances:
        if self.dimensions != other.dimensions:
            raise AlignmentError(
                f"cannot combine views of dimensions {self.dimensions} with {other.dimensions}"
            )
        count = self.count + sign * other.count
        if count < 0:
            raise AlignmentError(f"cannot remove {other.count} rows from {self.count}")
        if count == 0:
            return self.empty(*self.dimensions)
        difference = other.mean - self.mean
        share = sign * other.count / count
        scatter = np.outer(difference, difference)
        scatter *= self.count * share
        scatter += self.scatter
        (np.add if sign > 0 else np.subtract)(scatter, other.scatter, out=scatter)
        return Covariances(self.dimensions, count, self.mean + share * difference, scatter)

    def center(self, view: int) -> NDArray[np.float64]:
        """Return the (d_v,) mean of a view."""
        return self.mean[self._columns(view)]

    def between(self, first: int, second: int) -> NDArray[np.float64]:
        """Return the (d_first, d_second) covariance of two views, or of one with itself, divided by the row count."""
        return self.scatter[self._columns(first), self._columns(second)] / max(self.count, 1)

    def rotate(self, *axes: NDArray[np.float64]) -> Covariances:
        """Return the covariances of the views x_v @ axes_v; axes (d_v, k_v), one array per view."""
        scatter = [
            [
                left.T @ self.scatter[self._columns(i), self._columns(j)] @ right
                for j, right in enumerate(axes)
            ]
            for i, left in enumerate(axes)
        ]
        mean = np.concatenate([self.center(view) @ basis for view, basis in enumerate(axes)])
        return Covariances(tuple(basis.shape[1] for basis in axes), self.count, mean, np.block(scatter))

    def _columns(self, view: int) -> slice:
        start = sum(self.dimensions[:view])
        return slice(start, start + self.dimensions[view])
