"""Pairs grouped by item, from which training batches are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.alignment.cca.linked_covariances import Link
from retrieval.alignment.cca.paired_views import PairedViews
from retrieval.alignment.class_prior import FeatureMap
from retrieval.types import Integers, Matrix

VALIDATION_SHARE = 0.15
"""Share of the items held back to decide when to stop."""


@dataclass(frozen=True)
class LinkedItems:
    """The pairs of one link, grouped by item.

    Attributes:
        views: the two views that the link joins.
        items: (i,) int64 items that have a pair, ascending.
        first: (i,) int64, position in ``order`` of each item's first pair.
        count: (i,) int64 pairs of each item.
        order: (p,) int64 pair numbers, sorted by item.
        source: the pairs, for their features.
        lifts: of both views.
    """

    views: Link
    items: Integers
    first: Integers
    count: Integers
    order: Integers
    source: PairedViews
    lifts: tuple[FeatureMap, FeatureMap]

    @classmethod
    def of(cls, source: PairedViews, lifts: Sequence[FeatureMap], link: Link) -> LinkedItems:
        """Group the pairs of ``source`` by item. ``lifts`` holds one lift for each view of all links."""
        order = np.argsort(source.items, kind="stable")
        items, first, count = np.unique(source.items[order], return_index=True, return_counts=True)
        return cls(link, items, first, count, order, source, (lifts[link[0]], lifts[link[1]]))

    def draw(
        self, items: Integers, random: np.random.Generator | None
    ) -> tuple[Integers, tuple[Matrix, Matrix]]:
        """Draw one pair of each of the items that has any.

        Args:
            items: (n,) int64.
            random: draws one of an item's pairs; None takes its first.

        Returns:
            The items that have a pair, and the lifted features of their pairs in both views.
        """
        positions = np.flatnonzero(np.isin(self.items, items))
        offsets = (
            0 if random is None else (random.random(len(positions)) * self.count[positions]).astype(np.int64)
        )
        pairs = self.order[self.first[positions] + offsets]
        first, second = (
            lift.apply(self.source.features(view, pairs)) for view, lift in enumerate(self.lifts)
        )
        return self.items[positions], (first, second)


def items_by_link(pairs: Mapping[Link, PairedViews], lifts: Sequence[FeatureMap]) -> list[LinkedItems]:
    """Group the pairs of every link by item."""
    return [LinkedItems.of(views, lifts, link) for link, views in pairs.items()]


def split_items(links: Sequence[LinkedItems], share: float, seed: int) -> tuple[Integers, Integers]:
    """Shuffle all items that have a pair and split them into training items and a share of validation items."""
    items = np.unique(np.concatenate([linked.items for linked in links]))
    shuffled = np.random.default_rng(seed).permutation(items)
    validation_count = int(share * len(items))
    return shuffled[validation_count:], shuffled[:validation_count]
