"""Pairs of rows that belong to the same item, and their cross-validation folds."""

from __future__ import annotations

import numpy as np

from retrieval.types import Integers


def pair_rows(first: Integers, second: Integers) -> tuple[Integers, Integers]:
    """Return the row numbers of every pair of rows with the same item, ordered by the first.

    Args:
        first: (n,) items of the rows of one table.
        second: (m,) items of the rows of the other table.

    Returns:
        Two (p,) arrays: rows of the first table and of the second.
    """
    order = np.argsort(second, kind="stable")
    ordered = second[order]
    start = np.searchsorted(ordered, first, side="left")
    count = np.searchsorted(ordered, first, side="right") - start
    rows = np.repeat(np.arange(len(first)), count)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    return rows, order[np.repeat(start, count) + within]


def assign_folds(items: Integers, count: int, seed: int) -> Integers:
    """Return the (p,) fold of each pair, 0 to count - 1, as even as possible; pairs of one item share a fold."""
    unique_items, inverse = np.unique(items, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(unique_items)) % count)[inverse]
