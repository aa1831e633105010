"""How far figures can be trusted: bootstrap intervals over queries, and paired tests.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993 (percentile intervals, chapter 13; permutation
tests, chapter 15); for retrieval Sakai, 2006, and Smucker, Allan and Carterette, 2007.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import OptionError
from retrieval.evaluation.metrics import Measure, Values

Interval: TypeAlias = tuple[float, float] | None

Counts: TypeAlias = NDArray[np.int32]
"""(r, q): how often each query was drawn into each resample."""

DRAWS_A_CHUNK = 2**18
"""Queries drawn at a time, in all of the resamples together: what is made of them stays in the cache."""


@dataclass(frozen=True, slots=True)
class Resampling:
    """How often, from which seed, and how much of the resamples an interval covers."""

    resamples: int = 1000
    seed: int = 0
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.resamples < 0:
            raise OptionError(f"resamples must be at least 0, not {self.resamples}: 0 leaves intervals out")

    @property
    def quantiles(self) -> tuple[float, float]:
        """Where the interval's ends lie among the resamples."""
        return (1 - self.confidence) / 2, (1 + self.confidence) / 2


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better one system is than another on the same queries.

    Attributes:
        difference: the first's mean less the second's.
        interval: of the difference, bootstrapped over queries.
        p_value: the share of random exchanges of the two systems' values, query by query, whose difference
            is at least as large either way; the observed one is counted among them.
        queries: how many both were judged on.
    """

    difference: float
    interval: Interval
    p_value: float
    queries: int


def intervals(values: Mapping[Measure, Values], resampling: Resampling) -> dict[Measure, Interval]:
    """The percentile interval of each measure's figure, resampling queries.

    All measures are taken of the same resamples, and the same seed gives the same interval.

    Args:
        values: by measure, (q,) float64 as ``Measure.values`` gives them; queries that are NaN in all
            measures are left out.
        resampling: how.

    Returns:
        For each measure its interval; None without a query or a resample, or where an end is not finite.
    """
    if not values:
        return {}
    table = np.stack(list(values.values()))
    table = table[:, ~np.isnan(table).all(axis=0)]
    if not table.shape[1] or not resampling.resamples:
        return dict.fromkeys(values)
    of_means, of_medians = (
        [at for at, each in enumerate(values) if each.is_mean is wanted] for wanted in (True, False)
    )
    figures = np.empty((len(table), resampling.resamples))
    done = 0
    ordered = np.argsort(table[of_medians], axis=1)
    for counts in _resamples(table.shape[1], resampling):
        these = slice(done, done := done + len(counts))
        figures[of_means, these] = _means(table[of_means], counts)
        for at, order in zip(of_medians, ordered, strict=True):
            figures[at, these] = _medians(table[at], order, counts)
    return {measure: _interval(row, resampling) for measure, row in zip(values, figures, strict=True)}


def paired(first: Values, second: Values, resampling: Resampling) -> Difference | None:
    """Compare the means of two systems' values of the same queries.

    Args:
        first: (q,) float64, NaN for queries without relevant assets.
        second: the same queries' values in the same order.
        resampling: how; the seed is of resamples and exchanges.

    Returns:
        None where no query has a value of both, or a value is not finite.
    """
    both = ~(np.isnan(first) | np.isnan(second))
    differences = first[both] - second[both]
    if not len(differences) or not np.isfinite(differences).all():
        return None
    observed = float(differences.mean())
    means = np.concatenate(
        [np.empty(0)]
        + [counts @ differences / len(differences) for counts in _resamples(len(differences), resampling)]
    )
    return Difference(
        observed,
        _interval(means, resampling) if len(means) else None,
        _exchanged(differences, resampling),
        len(differences),
    )


def _exchanged(differences: Values, resampling: Resampling) -> float:
    """The randomisation test's two-sided p-value: (1 + as extreme ones) / (1 + all)."""
    random = np.random.default_rng(resampling.seed)
    observed = abs(differences.sum())
    # Sums of the same numbers in another order differ in their last bits, which is not another outcome.
    tolerance = 1e-9 * max(1.0, float(np.abs(differences).sum()))
    extreme = 0
    for size in _chunks(resampling.resamples, len(differences)):
        signs = random.integers(0, 2, (size, len(differences)), dtype=np.int8)
        sums = (2.0 * signs - 1.0) @ differences
        extreme += int((np.abs(sums) >= observed - tolerance).sum())
    return (1 + extreme) / (1 + resampling.resamples)


def _resamples(queries: int, resampling: Resampling) -> Iterator[Counts]:
    """(r, queries) how often each query was drawn, in chunks of resamples."""
    random = np.random.default_rng(resampling.seed)
    for size in _chunks(resampling.resamples, queries):
        drawn = random.integers(0, queries, (size, queries), dtype=np.int32)
        drawn += np.arange(0, size * queries, queries, dtype=np.int32)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * queries)
        yield counts.reshape(size, queries).astype(np.int32)


def _chunks(total: int, width: int) -> Iterator[int]:
    most = max(1, DRAWS_A_CHUNK // max(1, width))
    for start in range(0, total, most):
        yield min(most, total - start)


def _means(rows: NDArray[np.float64], counts: Counts) -> NDArray[np.float64]:
    """(measures, r). What is infinite makes the mean so only in the resamples that drew it."""
    finite = np.isfinite(rows)
    weights = counts.T.astype(np.float64)
    means: NDArray[np.float64] = np.where(finite, rows, 0.0) @ weights / len(weights)
    if not finite.all():
        means[(~finite).astype(np.float64) @ weights > 0] = np.inf
    return means


def _medians(values: Values, order: NDArray[np.intp], counts: Counts) -> NDArray[np.float64]:
    """(r,) the median of each resample: the mean of its two middle values, which are one where it is odd."""
    reached = counts.take(order, axis=1).cumsum(axis=1, dtype=np.int32)
    size = counts.shape[1]
    middle = [(reached <= place).sum(axis=1) for place in ((size - 1) // 2, size // 2)]
    low, high = (values[order][place] for place in middle)
    medians: NDArray[np.float64] = (low + high) / 2
    return medians


def _interval(figures: NDArray[np.float64], resampling: Resampling) -> Interval:
    low, high = np.quantile(figures, resampling.quantiles, method="inverted_cdf")
    return (float(low), float(high)) if np.isfinite([low, high]).all() else None
