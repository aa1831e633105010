"""Pairs by item: what training by batches of items draws from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.alignment.cca.linked_covariances import Link
from retrieval.alignment.cca.paired_views import PairedViews
from retrieval.alignment.class_prior import FeatureMap
from retrieval.types import Integers, Matrix

KEPT_APART = 0.15
"""Share of the items that tell when to stop."""


@dataclass(frozen=True)
class LinkedItems:
    """The pairs of one link, by item.

    Attributes:
        views: which are linked.
        items: (i,) int64, those that have a pair, ascending.
        first: (i,) int64, the first of each item's pairs.
        count: (i,) int64, how many it has.
        order: (p,) int64, the pairs by item.
        source: of their features.
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
        """The pairs of ``source``, a link of views whose lifts are given."""
        order = np.argsort(source.items, kind="stable")
        items, first, count = np.unique(source.items[order], return_index=True, return_counts=True)
        return cls(link, items, first, count, order, source, (lifts[link[0]], lifts[link[1]]))

    def drawn(
        self, items: Integers, random: np.random.Generator | None
    ) -> tuple[Integers, tuple[Matrix, Matrix]]:
        """Those of these items that have a pair, and features of both views of one pair each: the first, or any."""
        at = np.flatnonzero(np.isin(self.items, items))
        which = 0 if random is None else (random.random(len(at)) * self.count[at]).astype(np.int64)
        pairs = self.order[self.first[at] + which]
        first, second = (
            lift.apply(self.source.features(view, pairs)) for view, lift in enumerate(self.lifts)
        )
        return self.items[at], (first, second)


def by_item(pairs: Mapping[Link, PairedViews], lifts: Sequence[FeatureMap]) -> list[LinkedItems]:
    """Every link's pairs."""
    return [LinkedItems.of(views, lifts, link) for link, views in pairs.items()]


def parted(links: Sequence[LinkedItems], share: float, seed: int) -> tuple[Integers, Integers]:
    """All items that have a pair, shuffled: those to learn from, and a share of them kept apart."""
    items = np.unique(np.concatenate([own.items for own in links]))
    shuffled = np.random.default_rng(seed).permutation(items)
    apart = int(share * len(items))
    return shuffled[apart:], shuffled[:apart]
