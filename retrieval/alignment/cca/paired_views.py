"""The pairs of two modalities, and one summary of all pairs for fitting and for cross-validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
from numpy.typing import NDArray

from retrieval.alignment.base import FeatureTable
from retrieval.alignment.cca.covariances import BLOCK_ROWS, Covariances
from retrieval.alignment.cca.folds import assign_folds, pair_rows
from retrieval.alignment.cca.linked_covariances import Link, LinkedCovariances
from retrieval.alignment.class_prior import FeatureMap
from retrieval.arrays.lazy import slices
from retrieval.types import Integers, Matrix

POOL_SIZE = 500
"""Maximum number of validation pairs in a fold that are ranked against one another; fewer per link if there are more
links."""

COMPARED_ROWS = 512
"""Number of rows compared at a time to check whether a view varies; the first rows are usually enough."""

AXES = {2: 512, 3: 240, 4: 180}
"""Maximum number of principal axes per view, by the number of views, because one eigenproblem contains them all."""


@dataclass(frozen=True)
class PairedViews:
    """Two tables joined by item; their feature maps are applied in blocks of rows.

    Attributes:
        tables: one for each of the two views.
        feature_maps: one for each of the two views.
    """

    tables: tuple[FeatureTable, FeatureTable]
    feature_maps: tuple[FeatureMap, FeatureMap]

    @cached_property
    def rows(self) -> tuple[Integers, Integers]:
        """Two (p,) arrays: the row of each pair in the first and in the second table."""
        return pair_rows(self.tables[0].items, self.tables[1].items)

    @property
    def items(self) -> Integers:
        """(p,) item of each pair."""
        return self.tables[0].items[self.rows[0]]

    @cached_property
    def count(self) -> int:
        """Number of items with a pair."""
        return len(np.unique(self.items))

    def varies(self, view: int) -> bool:
        """Return whether the rows of one view differ between pairs; the first blocks usually decide it."""
        first = self.features(view, np.arange(1))
        chunks = slices(len(self.items), COMPARED_ROWS)
        return any(
            np.any(self.features(view, np.arange(len(self.items))[chunk]) != first) for chunk in chunks
        )

    def features(self, view: int, pairs: Integers) -> Matrix:
        """Return (n, d) feature rows of one view for these pair numbers."""
        return np.asarray(self.tables[view].features[self.rows[view][pairs]], np.float32)

    def covariances(self, pairs: Integers) -> Covariances:
        """Return the covariances of the mapped features for these pair numbers, computed block by block."""
        total = Covariances.of(*(self._mapped(view, pairs[:0]) for view in (0, 1)))
        for chunk in slices(len(pairs), BLOCK_ROWS):
            total = total.merge(Covariances.of(*(self._mapped(view, pairs[chunk]) for view in (0, 1))))
        return total

    def _mapped(self, view: int, pairs: Integers) -> Matrix:
        return self.feature_maps[view].apply(self.features(view, pairs))


@dataclass(frozen=True)
class Fold:
    """Held-out pairs of one fold, and the covariances of all other pairs.

    Attributes:
        held_out: covariances of the held-out pairs, along the principal axes of all pairs.
        training: covariances of the training pairs, along the same axes.
        views: by link, two (q, d_v) arrays of feature rows of the validation pairs, one pair per item.
    """

    held_out: LinkedCovariances
    training: LinkedCovariances
    views: Mapping[Link, tuple[Matrix, Matrix]]


@dataclass(frozen=True)
class PairSummary:
    """Summary statistics of all pairs.

    Attributes:
        items: (n,) items with a pair, ascending.
        axes: (d_v, k_v) principal axes of each view's mapped features. With a ridge, the axes after the first few
            hundred matter little, and without them every solution costs much less.
        whole: covariances of all pairs along these axes.
        folds: the cross-validation folds; empty if there are too few pairs.
    """

    items: Integers
    axes: tuple[NDArray[np.float64], ...]
    whole: LinkedCovariances
    folds: tuple[Fold, ...]


def summarise_pairs(
    pairs: Mapping[Link, PairedViews],
    count: int,
    seed: int,
    *,
    same_folds_as: tuple[PairSummary, Link] | None = None,
    max_axes: int | None = None,
    held_out: Integers | None = None,
) -> PairSummary:
    """Read every pair once and split the pairs into ``count`` folds (1: no folds).

    The training covariances of a fold are those of all pairs without the fold. All pairs of an item are in the same
    fold, whatever their modalities.

    Args:
        pairs: by link.
        count: number of folds.
        seed: seed of the folds and of the validation pairs.
        same_folds_as: a summary of more links, and which of them is the only link of ``pairs``: use its folds and
            its validation pairs.
        max_axes: maximum number of axes per view, instead of ``AXES``.
        held_out: items that are the only fold, for features that were fitted without these items.
    """
    if same_folds_as:
        items = same_folds_as[0].items
    else:
        items = np.unique(np.concatenate([views.items for views in pairs.values()]))
    if held_out is None:
        fold_of_item = assign_folds(items, count, seed)
    else:
        fold_of_item, count = np.isin(items, held_out).astype(np.int64), 2
    fold_of_pair = {link: fold_of_item[np.searchsorted(items, views.items)] for link, views in pairs.items()}
    members = [
        {link: np.flatnonzero(numbers == fold) for link, numbers in fold_of_pair.items()}
        for fold in range(count)
    ]
    parts = [
        LinkedCovariances({link: pairs[link].covariances(rows) for link, rows in by_link.items()})
        for by_link in members
    ]
    whole = reduce(LinkedCovariances.merge, parts)
    axes = tuple(whole.principal_axes(view, max_axes or AXES[whole.views]) for view in range(whole.views))
    rotated = whole.rotate(axes)
    if count == 1:
        return PairSummary(items, axes, rotated, ())
    random, pool_size = np.random.default_rng(seed), int(POOL_SIZE / len(pairs) ** 0.5)
    folds = []
    rotated_parts = (part.rotate(axes) for part in parts)
    for number, (by_link, part) in enumerate(zip(members, rotated_parts, strict=True)):
        if held_out is not None and number == 0:  # the features were fitted on these items: no validation
            continue
        if same_folds_as:
            summary, link = same_folds_as
            views = {(0, 1): summary.folds[number].views[link]}
        else:
            views = {link: _pool(pairs[link], rows, pool_size, random) for link, rows in by_link.items()}
        folds.append(Fold(held_out=part, training=rotated.without(part), views=views))
    return PairSummary(items, axes, rotated, tuple(folds))


def _pool(
    views: PairedViews, pairs: Integers, size: int, random: np.random.Generator
) -> tuple[Matrix, Matrix]:
    """Return feature rows of at most ``size`` of the pairs, one per item."""
    pool = pairs[np.unique(views.items[pairs], return_index=True)[1]]
    pool = np.sort(random.permutation(pool)[:size])
    return views.features(0, pool), views.features(1, pool)
