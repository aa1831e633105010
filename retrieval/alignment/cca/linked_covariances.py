"""Covariances of several views, where each pair of views has its covariances common items, or none."""

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
    """Covariances of all links of V views: all that canonical correlation analysis needs.

    The covariance between two views is over the items that have both. The covariance within a view is over all its
    links, and each item counts as often as it is paired. Nothing is imputed, and an item may lack any view.

    Attributes:
        links: the joint covariances of two views, by view numbers. Every view from 0 to V - 1 has a link.
    """

    links: Mapping[Link, Covariances]

    @classmethod
    def of(cls, *views: NDArray[np.floating]) -> LinkedCovariances:
        """Return the covariances of complete items: views (n, d_v), where row i of each is the same item."""
        pairs = combinations(range(len(views)), 2)
        return cls({(i, j): Covariances.of(views[i], views[j]) for i, j in pairs})

    @property
    def views(self) -> int:
        """V, the number of views."""
        return 1 + max(second for _, second in self.links)

    def merge(self, other: LinkedCovariances) -> LinkedCovariances:
        """Return the covariances of the pairs of both, which have the same links."""
        return LinkedCovariances(
            {link: covariances.merge(other.links[link]) for link, covariances in self.links.items()}
        )

    def without(self, other: LinkedCovariances) -> LinkedCovariances:
        """Return the covariances without the pairs of ``other``, which must be among these pairs."""
        return LinkedCovariances(
            {link: covariances.without(other.links[link]) for link, covariances in self.links.items()}
        )

    def count(self, view: int) -> int:
        """Return the number of pairs that include a view."""
        return sum(covariances.count for covariances, _ in self._sides(view))

    def center(self, view: int) -> NDArray[np.float64]:
        """Return the (d_v,) mean of a view."""
        return self._pooled(view, Covariances.center)

    def within(self, view: int) -> NDArray[np.float64]:
        """Return the (d_v, d_v) covariance of a view, centred separately in each link."""
        return self._pooled(view, lambda covariances, side: covariances.between(side, side))

    def between(self, link: Link) -> NDArray[np.float64]:
        """Return the (d_first, d_second) covariance of two linked views."""
        return self.links[link].between(0, 1)

    def principal_axes(self, view: int, count: int) -> NDArray[np.float64]:
        """Return at most ``count`` orthonormal axes (d_v, k) of a view, largest variance first."""
        within = self.within(view)
        largest = (max(len(within) - count, 0), len(within) - 1)
        variances, axes = linalg.eigh(within, subset_by_index=largest, check_finite=False)
        nonzero: NDArray[np.float64] = axes[:, variances > 1e-9 * max(variances[-1], 1e-9)]
        return nonzero[:, ::-1]

    def rotate(self, axes: Sequence[NDArray[np.float64]]) -> LinkedCovariances:
        """Return the covariances of the views x_v @ axes_v; axes (d_v, k_v), one array per view."""
        return LinkedCovariances(
            {(i, j): covariances.rotate(axes[i], axes[j]) for (i, j), covariances in self.links.items()}
        )

    def _sides(self, view: int) -> list[tuple[Covariances, int]]:
        """Return the covariances of each link of a view, and whether the view is the first (0) or the second (1)."""
        return [(covariances, link.index(view)) for link, covariances in self.links.items() if view in link]

    def _pooled(
        self, view: int, moment: Callable[[Covariances, int], NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        sides = self._sides(view)
        if len(sides) == 1:
            return moment(*sides[0])
        total = sum(covariances.count * moment(covariances, side) for covariances, side in sides)
        return np.asarray(total / max(self.count(view), 1))
