"""Late fusion: several rankings of the same things become one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import OptionError

Values = NDArray[np.float64]

SMOOTHING = 60
"""The constant of reciprocal rank fusion, its authors'."""


def reciprocal_ranks(scores: Sequence[NDArray[np.floating]], smoothing: int = SMOOTHING) -> Values:
    """(q, n) float64: the sum over rankings of 1 / (smoothing + rank).

    Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual rank learning
    methods" (2009). Ranks start at 1, and among equals the lower place comes first; NaN, what a ranking does not
    hold, adds nothing.

    Args:
        scores: of each ranking, (q, n), higher is better.
        smoothing: above -1; the larger, the less the first ranks count.

    Raises:
        OptionError: there are no rankings, or they are of other things.
    """
    total = np.zeros(_shape(scores))
    for own in scores:
        order = np.argsort(-np.asarray(own, np.float64), axis=1, kind="stable")
        ranks = np.empty(order.shape)
        np.put_along_axis(ranks, order, np.arange(1, order.shape[1] + 1)[None], axis=1)
        total += np.where(np.isnan(own), 0, 1 / (smoothing + ranks))
    return total


def standardised(scores: Sequence[NDArray[np.floating]]) -> Values:
    """(q, n) float64: the sum over rankings of each query's scores less their mean, by their deviation.

    What a ranking does not hold (NaN) is taken to be as low as the lowest that it holds: a ranking is cut off below,
    and what is missing must not pass what is there. A ranking whose scores are all the same adds nothing.

    Raises:
        OptionError: there are no rankings, or they are of other things.
    """
    total = np.zeros(_shape(scores))
    for own in scores:
        values = np.asarray(own, np.float64)
        held = ~np.isnan(values)
        count = np.maximum(held.sum(axis=1, keepdims=True), 1)
        known = np.where(held, values, 0)
        away = known - known.sum(axis=1, keepdims=True) / count
        deviation = np.sqrt((np.where(held, away, 0) ** 2).sum(axis=1, keepdims=True) / count)
        lowest = np.where(held, away, np.inf).min(axis=1, keepdims=True, initial=np.inf)
        away = np.where(held, away, np.where(np.isfinite(lowest), lowest, 0))
        total += np.divide(away, deviation, out=np.zeros_like(away), where=deviation > 1e-9)
    return total


def _shape(scores: Sequence[NDArray[np.floating]]) -> tuple[int, ...]:
    shapes = {own.shape for own in scores}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise OptionError(f"expected rankings of one shape (q, n), not {sorted(shapes) or 'none'}")
    return shapes.pop()
