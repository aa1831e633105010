"""Measuring recall and cost of an index on real queries, and tuning its search effort to a target recall."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.arrays.lazy import MatrixLike
from retrieval.types import Integers, Matrix, Modality
from retrieval.vectors import scan
from retrieval.vectors.base import Subset, VectorIndex
from retrieval.vectors.query_sample import Sample
from retrieval.vectors.refined import RefinedIndex
from retrieval.vectors.search_effort import REFERENCE_K, Effort, is_graph, list_count

STANDARD_ERRORS = 1.64
"""Standard errors by which a recall must exceed its target, so that other queries reach it in 19 of 20 cases."""

DEPTHS = tuple(REFERENCE_K * 2**power for power in range(1, 10))
BEAMS = tuple(2**power for power in range(4, 12))

HALVINGS = 2
"""Bisection steps between a sufficient effort and half of it, to find a cheaper one."""

QUERIES_AT_ONCE = 16
"""Queries searched at once to measure recall: with thousands of candidates each, FAISS needs megabytes per query."""

SHARES = tuple(2.0**-power for power in range(1, 11))
"""Shares of the rows selected by a filter, for which an index is tuned."""

TIMED_QUERIES = 64
"""Number of single queries that are timed."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Measured recall, speed and size of an index.

    Attributes:
        recall: by modality of the query, the share of the exact ten best vectors that are found.
        ms: median milliseconds of a single query.
        batch_ms: milliseconds per query when all are searched at once.
        bytes: memory per vector in bytes, without the memory-mapped vectors on disk.
    """

    recall: Mapping[str, float]
    ms: float
    batch_ms: float
    bytes: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain, rounded values."""
        values = {name: float(f"{value:.3g}") for name, value in asdict(self).items() if name != "recall"}
        return {
            "k": REFERENCE_K,
            "recall": {name: round(value, 4) for name, value in self.recall.items()},
            **values,
        }


@dataclass(frozen=True)
class GroundTruth:
    """A sample of queries and their exact results, which every candidate is measured against.

    Attributes:
        sample: the queries.
        rows: by modality, (q, 10) int64, the exact results.
    """

    sample: Sample
    rows: Mapping[Modality, Integers]

    @classmethod
    def of(cls, sample: Sample, vectors: MatrixLike, subset: Subset | None = None) -> GroundTruth:
        """Search all ``vectors`` (n, d), or a subset of them, exactly for the sample."""
        rows = None if subset is None else subset.rows
        return cls(
            sample,
            {name: scan.best(queries, vectors, REFERENCE_K, rows)[1] for name, queries in sample.items()},
        )

    def half(self, which: int) -> GroundTruth:
        """Return every other query: one half to tune with (0), the other to measure with (1)."""
        sample = {name: queries[which::2] for name, queries in self.sample.items() if len(queries) > which}
        return GroundTruth(sample, {name: self.rows[name][which::2] for name in sample})

    def recalls(self, search: Callable[[Matrix], Integers]) -> dict[Modality, NDArray[np.float64]]:
        """Return by modality (q,) the share of each query's exact results among the (q, 10) rows of ``search``."""
        return {
            name: np.array(
                [
                    np.isin(found, exact).mean()
                    for at in range(0, len(queries), QUERIES_AT_ONCE)
                    for found, exact in zip(
                        search(queries[at : at + QUERIES_AT_ONCE]),
                        self.rows[name][at : at + QUERIES_AT_ONCE],
                        strict=True,
                    )
                ]
            )
            for name, queries in self.sample.items()
        }


def tune(index: RefinedIndex, truth: GroundTruth, target: float) -> Effort:
    """Return the smallest effort with ``target`` recall for queries of every modality; the largest if none has it."""
    steps = list(_steps(index))
    at = next(
        (at for at, effort in enumerate(steps) if _reaches_target(index, effort, truth, target)),
        len(steps) - 1,
    )
    sufficient = _smallest_between(index, steps[at - 1], steps[at], truth, target) if at else steps[0]
    for depth in DEPTHS:
        cheaper = replace(sufficient, depth=depth)
        if depth < sufficient.depth and _reaches_target(index, cheaper, truth, target):
            return cheaper
    return sufficient


def tune_for_filters(
    index: RefinedIndex, truth: GroundTruth, target: float, vectors: MatrixLike, seed: int
) -> Effort:
    """Return the index's effort, extended by efforts for filtered searches where the index is faster than a scan.

    Random subsets are tested, each half as large as the one before. Tuning ends at the last share for which comparing
    the subset exactly takes longer; smaller subsets are compared exactly. The time of an effort is checked before its
    recall, because a graph's effort may grow until it costs many times a comparison of all rows.

    Args:
        index: a tuned index.
        truth: the queries to tune with.
        target: share of the exact results that queries of every modality must find.
        vectors: (n, d), the vectors of the index.
        seed: seed of the random subsets.
    """
    unfiltered = replace(index.effort, filtered=None)
    tuned: list[tuple[float, Effort]] = []
    order = np.random.default_rng(seed).permutation(len(index))
    for share in SHARES if index.can_filter else ():
        subset = Subset(np.sort(order[: int(share * len(index))]), len(index))
        start = tuned[-1][1] if tuned else unfiltered
        if index.compares_all(_for_any_share(start), REFERENCE_K, subset):
            break
        subset_truth = GroundTruth.of(truth.sample, vectors, subset)
        sufficient = _tune_for_subset(index, start, subset_truth, target, subset)
        if sufficient is None:
            break
        tuned.append((share, sufficient))
    return replace(unfiltered, filtered=tuple(tuned))


def _tune_for_subset(
    index: RefinedIndex, start: Effort, truth: GroundTruth, target: float, subset: Subset
) -> Effort | None:
    """Return the first sufficient effort from ``start`` on; None if comparing the subset exactly is faster."""
    exact_seconds = seconds_per_query(index, truth, None, subset)
    for effort in _increasing(index, start):
        if seconds_per_query(index, truth, effort, subset) > exact_seconds:
            return None
        if _reaches_target(index, effort, truth, target, subset):
            return effort
    return None


def _reaches_target(
    index: RefinedIndex, effort: Effort, truth: GroundTruth, target: float, subset: Subset | None = None
) -> bool:
    effort = effort if subset is None else _for_any_share(effort)
    recalls = truth.recalls(lambda queries: index.search(queries, REFERENCE_K, subset, effort=effort)[1])
    return all(
        each.mean() - STANDARD_ERRORS * each.std() / len(each) ** 0.5 >= target for each in recalls.values()
    )


def _smallest_between(
    index: RefinedIndex, insufficient: Effort, sufficient: Effort, truth: GroundTruth, target: float
) -> Effort:
    """Return the smallest sufficient effort found by bisection between an insufficient and a sufficient one."""
    for _ in range(HALVINGS):
        middle = Effort(
            (insufficient.depth + sufficient.depth) // 2,
            (insufficient.probes + sufficient.probes) // 2,
            (insufficient.beam + sufficient.beam) // 2,
        )
        if middle in (insufficient, sufficient):
            break
        if _reaches_target(index, middle, truth, target):
            sufficient = middle
        else:
            insufficient = middle
    return sufficient


def _for_any_share(effort: Effort) -> Effort:
    """Return an effort that is used for subsets of any size."""
    return replace(effort, filtered=((0.0, effort),))


def seconds_per_query(
    index: RefinedIndex, truth: GroundTruth, effort: Effort | None, subset: Subset
) -> float:
    """Return seconds per query among the rows of ``subset``: with ``effort``, or compared exactly if None."""
    queries = np.concatenate(list(truth.sample.values()))[:TIMED_QUERIES]
    start = time.perf_counter()
    for at in range(len(queries)):
        if effort is None:
            index.stored.best(queries[at : at + 1], REFERENCE_K, subset)
        else:
            index.search(queries[at : at + 1], REFERENCE_K, subset, effort=_for_any_share(effort))
    return (time.perf_counter() - start) / len(queries)


def _increasing(index: RefinedIndex, effort: Effort) -> Iterator[Effort]:
    """Yield ``effort`` and increasing ones after it."""
    if is_graph(index.base):
        yield from (replace(effort, beam=beam) for beam in _doubled(effort.beam, BEAMS[-1]))
    elif list_count(index.base) > 1:
        yield from (
            replace(effort, probes=probes) for probes in _doubled(effort.probes, list_count(index.base))
        )
    else:
        yield effort


def _doubled(number: int, most: int) -> Iterator[int]:
    while number < most:
        yield number
        number *= 2
    yield most


def _steps(index: RefinedIndex) -> Iterator[Effort]:
    """Yield efforts from the smallest to the largest for this index; all of them rank many candidates."""
    depth = DEPTHS[-1]
    if is_graph(index.base):
        yield from (Effort(min(depth, beam), 1, beam) for beam in BEAMS)
    elif list_count(index.base) > 1:
        steps = [2**power for power in range(list_count(index.base).bit_length())]
        yield from (Effort(depth, probes) for probes in [*steps, list_count(index.base)])
    else:
        yield Effort(depth)


def measure(index: VectorIndex, truth: GroundTruth) -> Measurement:
    """Measure ``index`` with the sample of ``truth``."""
    recalls = truth.recalls(lambda queries: index.search(queries, REFERENCE_K)[1])
    recall = {str(name): float(each.mean()) for name, each in recalls.items()}
    queries = np.concatenate(list(truth.sample.values()))
    singles = [_seconds(index, queries[at : at + 1]) for at in range(min(TIMED_QUERIES, len(queries)))]
    batch = median(_seconds(index, queries) for _ in range(3)) / len(queries)
    return Measurement(recall, 1e3 * median(singles), 1e3 * batch, memory_bytes(index) / max(1, len(index)))


def _seconds(index: VectorIndex, queries: Matrix) -> float:
    start = time.perf_counter()
    index.search(queries, REFERENCE_K)
    return time.perf_counter() - start


def memory_bytes(index: VectorIndex) -> int:
    """Return the bytes that must be in memory for a fast search."""
    if isinstance(index, RefinedIndex):
        return index.bytes
    return 4 * len(index) * index.dimension
