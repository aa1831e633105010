"""Covariances of several views where every two of them have items of their own in common, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from retrieval.alignment.cca.covariances import Covariances

Link = tuple[int, int]
"""Two views with common items, the lower number first."""


@dataclass(frozen=True)
class LinkedCovariances:
    """What every link of V views tells: all that canonical correlations need to know of the rows.

    Between two views the items count that have both; within a view, those of all its links, each item as often
    as it is paired. Nothing is imputed, and an item may lack any of its views.

    Attributes:
        links: the joint covariances of two views, by the views' numbers. Every view from 0 on has a link.
    """

    links: Mapping[Link, Covariances]

    @classmethod
    def of(cls, *views: NDArray[np.floating]) -> LinkedCovariances:
        """Of complete items: views (n, d_v), row i of each being the same item."""
        pairs = combinations(range(len(views)), 2)
        return cls({(i, j): Covariances.of(views[i], views[j]) for i, j in pairs})

    @property
    def views(self) -> int:
        """V."""
        return 1 + max(second for _, second in self.links)

    def merge(self, other: LinkedCovariances) -> LinkedCovariances:
        """Of the pairs of both, which have the same links."""
        return LinkedCovariances({link: own.merge(other.links[link]) for link, own in self.links.items()})

    def without(self, other: LinkedCovariances) -> LinkedCovariances:
        """Of the pairs that are left when those of ``other``, which must be among them, are taken out."""
        return LinkedCovariances({link: own.without(other.links[link]) for link, own in self.links.items()})

    def count(self, view: int) -> int:
        """Pairs that a view takes part in."""
        return sum(own.count for own, _ in self._sides(view))

    def center(self, view: int) -> NDArray[np.float64]:
        """(d_v,) mean of a view."""
        return self._pooled(view, Covariances.center)

    def within(self, view: int) -> NDArray[np.float64]:
        """(d_v, d_v) covariance of a view around its mean in each link."""
        return self._pooled(view, lambda own, side: own.between(side, side))

    def between(self, link: Link) -> NDArray[np.float64]:
        """(d_first, d_second) covariance of two linked views."""
        return self.links[link].between(0, 1)

    def principal_axes(self, view: int, count: int) -> NDArray[np.float64]:
        """(d_v, k) orthonormal axes of a view, largest variance first, at most ``count``."""
        within = self.within(view)
        largest = (max(len(within) - count, 0), len(within) - 1)
        variances, axes = linalg.eigh(within, subset_by_index=largest, check_finite=False)
        kept: NDArray[np.float64] = axes[:, variances > 1e-9 * max(variances[-1], 1e-9)]
        return kept[:, ::-1]

    def rotate(self, axes: Sequence[NDArray[np.float64]]) -> LinkedCovariances:
        """Of the views x_v @ axes_v instead; axes (d_v, k_v), one array a view."""
        return LinkedCovariances({(i, j): own.rotate(axes[i], axes[j]) for (i, j), own in self.links.items()})

    def _sides(self, view: int) -> list[tuple[Covariances, int]]:
        """The covariances that a view takes part in, and whether as the first (0) or the second (1)."""
        return [(own, link.index(view)) for link, own in self.links.items() if view in link]

    def _pooled(
        self, view: int, moment: Callable[[Covariances, int], NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        sides = self._sides(view)
        if len(sides) == 1:
            return moment(*sides[0])
        total = sum(own.count * moment(own, side) for own, side in sides)
        return np.asarray(total / max(self.count(view), 1))
