"""How much effort an index needs to find what exact search finds, and what that costs: measured on real queries."""

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
from retrieval.vectors.search_effort import Effort, K, is_graph, lists

SURE = 1.64
"""Standard errors that a recall must lie above its target, so that other queries find as much in 19 of 20 cases."""

DEPTHS = tuple(K * 2**power for power in range(1, 10))
BEAMS = tuple(2**power for power in range(4, 12))

HALVINGS = 2
"""How often the step between an effort that is enough and half of it is halved, to find one that takes less time."""

ASKED_AT_ONCE = 16
"""Queries whose recall is looked at in one search: of thousands of candidates each, FAISS holds megabytes a query."""

SHARES = tuple(2.0**-power for power in range(1, 11))
"""Shares of the rows that a filter leaves, for which an index is tuned."""

TIMED = 64
"""Single queries that are timed."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What an index does.

    Attributes:
        recall: by modality of the query, the share of the exact ten best vectors that are found.
        ms: milliseconds a single query takes, the median.
        batch_ms: milliseconds a query takes when all are asked at once.
        bytes: of memory a vector takes, without the vectors on disk that a search maps parts of.
    """

    recall: Mapping[str, float]
    ms: float
    batch_ms: float
    bytes: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, rounded."""
        values = {name: float(f"{value:.3g}") for name, value in asdict(self).items() if name != "recall"}
        return {"k": K, "recall": {name: round(value, 4) for name, value in self.recall.items()}, **values}


@dataclass(frozen=True)
class Truth:
    """The sample, and what exact search finds for it: the yardstick of every candidate.

    Attributes:
        sample: the queries.
        rows: by modality, (q, 10) int64, the exact answers.
    """

    sample: Sample
    rows: Mapping[Modality, Integers]

    @classmethod
    def of(cls, sample: Sample, vectors: MatrixLike, subset: Subset | None = None) -> Truth:
        """Compare the sample with all ``vectors`` (n, d), or a subset of them."""
        rows = None if subset is None else subset.rows
        return cls(sample, {name: scan.best(asking, vectors, K, rows)[1] for name, asking in sample.items()})

    def half(self, which: int) -> Truth:
        """Every other query: one half to tune with (0), one to measure with (1)."""
        sample = {name: asking[which::2] for name, asking in self.sample.items() if len(asking) > which}
        return Truth(sample, {name: self.rows[name][which::2] for name in sample})

    def recalls(self, search: Callable[[Matrix], Integers]) -> dict[Modality, NDArray[np.float64]]:
        """By modality, (q,) the share of each query's answers that are among the (q, 10) rows of ``search``."""
        return {
            name: np.array(
                [
                    np.isin(found, right).mean()
                    for at in range(0, len(asking), ASKED_AT_ONCE)
                    for found, right in zip(
                        search(asking[at : at + ASKED_AT_ONCE]),
                        self.rows[name][at : at + ASKED_AT_ONCE],
                        strict=True,
                    )
                ]
            )
            for name, asking in self.sample.items()
        }


def tuned(index: RefinedIndex, truth: Truth, target: float) -> Effort:
    """The least effort by which every modality's queries find the ``target`` share; the largest if none does."""
    ladder = list(_ladder(index))
    at = next(
        (at for at, effort in enumerate(ladder) if _reaches(index, effort, truth, target)), len(ladder) - 1
    )
    enough = _least_between(index, ladder[at - 1], ladder[at], truth, target) if at else ladder[0]
    for depth in DEPTHS:
        less = replace(enough, depth=depth)
        if depth < enough.depth and _reaches(index, less, truth, target):
            return less
    return enough


def filtered(index: RefinedIndex, truth: Truth, target: float, vectors: MatrixLike, seed: int) -> Effort:
    """The index's effort, with what it takes when a filter leaves some of the rows: as far as that is worth it.

    Rows are left at random, by halves. The last share is the one where comparing those rows exactly takes longer:
    of fewer rows that is done anyway. An effort's time is looked at before its recall, for a graph's may grow until
    it costs many times what comparing everything does.

    Args:
        index: tuned.
        truth: whose queries ask.
        target: the share of the exact answers that every modality's queries must find.
        vectors: (n, d), those of the index.
        seed: of the rows that are left.
    """
    own = replace(index.effort, filtered=None)
    found: list[tuple[float, Effort]] = []
    order = np.random.default_rng(seed).permutation(len(index))
    for share in SHARES if index.selects else ():
        subset = Subset(np.sort(order[: int(share * len(index))]), len(index))
        least = found[-1][1] if found else own
        if index.compares_all(_whatever(least), K, subset):
            break
        right = Truth.of(truth.sample, vectors, subset)
        enough = _worth_it(index, least, right, target, subset)
        if enough is None:
            break
        found.append((share, enough))
    return replace(own, filtered=tuple(found))


def _worth_it(
    index: RefinedIndex, least: Effort, truth: Truth, target: float, subset: Subset
) -> Effort | None:
    """The first effort from ``least`` on that finds enough; None where comparing the subset is done sooner."""
    exactly = seconds_among(index, truth, None, subset)
    for effort in _harder(index, least):
        if seconds_among(index, truth, effort, subset) > exactly:
            return None
        if _reaches(index, effort, truth, target, subset):
            return effort
    return None


def _reaches(
    index: RefinedIndex, effort: Effort, truth: Truth, target: float, subset: Subset | None = None
) -> bool:
    spent = effort if subset is None else _whatever(effort)
    recalls = truth.recalls(lambda asking: index.search(asking, K, subset, effort=spent)[1])
    return all(each.mean() - SURE * each.std() / len(each) ** 0.5 >= target for each in recalls.values())


def _least_between(index: RefinedIndex, short: Effort, enough: Effort, truth: Truth, target: float) -> Effort:
    """The least effort that is seen to be enough between two steps of a ladder, the lower of which falls short."""
    for _ in range(HALVINGS):
        middle = Effort(
            (short.depth + enough.depth) // 2,
            (short.probes + enough.probes) // 2,
            (short.beam + enough.beam) // 2,
        )
        if middle in (short, enough):
            break
        if _reaches(index, middle, truth, target):
            enough = middle
        else:
            short = middle
    return enough


def _whatever(effort: Effort) -> Effort:
    """Just that, whatever the share of rows that count."""
    return replace(effort, filtered=((0.0, effort),))


def seconds_among(index: RefinedIndex, truth: Truth, effort: Effort | None, subset: Subset) -> float:
    """Seconds that a query takes among these rows: with that effort, or compared exactly."""
    asking = np.concatenate(list(truth.sample.values()))[:TIMED]
    start = time.perf_counter()
    for at in range(len(asking)):
        if effort is None:
            index.stored.best(asking[at : at + 1], K, subset)
        else:
            index.search(asking[at : at + 1], K, subset, effort=_whatever(effort))
    return (time.perf_counter() - start) / len(asking)


def _harder(index: RefinedIndex, effort: Effort) -> Iterator[Effort]:
    """This effort, and those that look further."""
    if is_graph(index.base):
        yield from (replace(effort, beam=beam) for beam in _doubled(effort.beam, BEAMS[-1]))
    elif lists(index.base) > 1:
        yield from (replace(effort, probes=probes) for probes in _doubled(effort.probes, lists(index.base)))
    else:
        yield effort


def _doubled(number: int, most: int) -> Iterator[int]:
    while number < most:
        yield number
        number *= 2
    yield most


def _ladder(index: RefinedIndex) -> Iterator[Effort]:
    """Efforts from the least to the largest that this index knows, all of which rank many candidates."""
    depth = DEPTHS[-1]
    if is_graph(index.base):
        yield from (Effort(min(depth, beam), 1, beam) for beam in BEAMS)
    elif lists(index.base) > 1:
        steps = [2**power for power in range(lists(index.base).bit_length())]
        yield from (Effort(depth, probes) for probes in [*steps, lists(index.base)])
    else:
        yield Effort(depth)


def measure(index: VectorIndex, truth: Truth) -> Measured:
    """What ``index`` does with the truth's sample."""
    found = truth.recalls(lambda asking: index.search(asking, K)[1])
    recall = {str(name): float(each.mean()) for name, each in found.items()}
    asking = np.concatenate(list(truth.sample.values()))
    singles = [_seconds(index, asking[at : at + 1]) for at in range(min(TIMED, len(asking)))]
    batch = median(_seconds(index, asking) for _ in range(3)) / len(asking)
    return Measured(recall, 1e3 * median(singles), 1e3 * batch, memory(index) / max(1, len(index)))


def _seconds(index: VectorIndex, queries: Matrix) -> float:
    start = time.perf_counter()
    index.search(queries, K)
    return time.perf_counter() - start


def memory(index: VectorIndex) -> int:
    """Bytes that have to be in memory for a search to be fast."""
    if isinstance(index, RefinedIndex):
        return index.bytes
    return 4 * len(index) * index.dimension
