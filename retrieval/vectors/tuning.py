"""How much effort an index needs to find what exact search finds, and what that costs: measured on real queries."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.types import Integers, Matrix, Modality
from retrieval.vectors import scan
from retrieval.vectors.base import VectorIndex
from retrieval.vectors.effort import Effort, K, is_graph, lists
from retrieval.vectors.refined import RefinedIndex
from retrieval.vectors.sample import Sample

SURE = 1.64
"""Standard errors that a recall must lie above its target, so that other queries find as much in 19 of 20 cases."""

DEPTHS = tuple(K * 2**power for power in range(1, 10))
BEAMS = tuple(2**power for power in range(4, 12))

ASKED_AT_ONCE = 16
"""Queries whose recall is looked at in one search: of thousands of candidates each, FAISS holds megabytes a query."""

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
    def of(cls, sample: Sample, vectors: scan.Vectors) -> Truth:
        """Compare the sample with all ``vectors`` (n, d)."""
        return cls(sample, {name: scan.best(asking, vectors, K)[1] for name, asking in sample.items()})

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

    def reaches(effort: Effort) -> bool:
        recalls = truth.recalls(lambda asking: index.search(asking, K, effort=effort)[1])
        return all(each.mean() - SURE * each.std() / len(each) ** 0.5 >= target for each in recalls.values())

    enough = index.effort
    for enough in _ladder(index):
        if reaches(enough):
            break
    for depth in DEPTHS:
        less = replace(enough, depth=depth)
        if depth < enough.depth and reaches(less):
            return less
    return enough


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
