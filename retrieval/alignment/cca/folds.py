"""Which rows belong together, and which are kept apart to validate."""

from __future__ import annotations

import numpy as np

from retrieval.types import Integers


def pair_rows(first: Integers, second: Integers) -> tuple[Integers, Integers]:
    """Row numbers of every pair of rows with the same item, ordered by the first.

    Args:
        first: (n,) items of one table's rows.
        second: (m,) items of the other's.

    Returns:
        Two (p,) arrays: rows of the first and of the second.
    """
    order = np.argsort(second, kind="stable")
    ordered = second[order]
    start = np.searchsorted(ordered, first, side="left")
    count = np.searchsorted(ordered, first, side="right") - start
    rows = np.repeat(np.arange(len(first)), count)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    return rows, order[np.repeat(start, count) + within]


def assign_folds(items: Integers, count: int, seed: int) -> Integers:
    """(p,) fold of each pair, 0 to count - 1, as even as can be; all pairs of an item fall in one fold."""
    known, inverse = np.unique(items, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(known)) % count)[inverse]
