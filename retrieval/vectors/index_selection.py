"""Choosing an index (``auto``): candidates are built from the corpus and measured with its own queries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.arrays.lazy import MatrixLike
from retrieval.errors import OptionError
from retrieval.option_checks import known
from retrieval.vectors import faiss_files, load_index, registry, tuning
from retrieval.vectors.base import VectorIndex
from retrieval.vectors.flat import FlatIndex
from retrieval.vectors.query_sample import Sample
from retrieval.vectors.refined import RefinedIndex
from retrieval.vectors.tuning import GroundTruth, Measurement

SMALL_SIZE = 2**23
"""Up to this many numbers (20,000 vectors of 384), a flat search takes a millisecond or two: nothing is measured."""

MIN_INVERTED = 50_000
"""From this many vectors on, lists are tried: with fewer, scanning all codes takes less than the rest of a query."""

MAX_GRAPH_BYTES = 2**32
"""Memory limit of a graph if none is set; while it is built, its vectors are in memory, too."""

MIN_GRAPH_MS = 0.5
"""A graph is tried only if a query takes this many milliseconds: it builds slower than all others together."""

SINGLE, BATCH = FAVOURS = ("single", "batch")


_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def check_recall(recall: float) -> float:
    """Return ``recall`` if it is valid.

    Raises:
        OptionError: it is not above 0 and at most 1.
    """
    if not 0 < recall <= 1:
        raise OptionError(f"recall must be above 0 and at most 1, not {recall}")
    return recall


def check_memory(memory: str | int) -> int:
    """Return bytes, from a number of bytes or a text such as ``"4GB"`` (1 GB is 1,024 MB) or ``"500M"``.

    Raises:
        OptionError: it is neither.
    """
    parsed = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?B)?", str(memory), re.IGNORECASE)
    size = int(float(parsed[1]) * 1024 ** _UNITS[parsed[2].upper()]) if parsed else 0
    if size < 1:
        raise OptionError(f"memory must be a size such as 4GB or 500MB, not {memory!r}")
    return size


def check_favour(favour: str) -> str:
    """Return ``favour`` if it is valid.

    Raises:
        OptionError: it is not one of ``FAVOURS``.
    """
    return known("favour", favour, FAVOURS)


@dataclass(frozen=True, slots=True)
class Requirements:
    """Requirements for an index.

    Attributes:
        recall: share of the ten best results of exact search that queries of each modality must find.
        memory: largest size of the index in bytes; unlimited if None.
        favour: whether ``"single"`` queries or a ``"batch"`` must be fast.
        seed: seed of the samples.
        device: ``"cuda"`` trains and adds on a GPU.
    """

    recall: float = 0.95
    memory: int | None = None
    favour: str = SINGLE
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True)
class _Candidate:
    entry: Mapping[str, Any]
    measured: Measurement

    def time(self, favour: str) -> float:
        return self.measured.ms if favour == SINGLE else self.measured.batch_ms

    def recall(self) -> float:
        return min(self.measured.recall.values())


def build(
    spec: str, vectors: MatrixLike, sample: Sample, requirements: Requirements, path: Path
) -> dict[str, Any]:
    """Write an index of ``vectors`` (n, d) float32; an approximate one is tuned and measured.

    Vectors are processed in blocks, and only one candidate exists at a time.

    Args:
        spec: an index spec that ``registry.check_index_spec`` accepts.
        vectors: the vectors to index.
        sample: queries of all modalities that the index can be searched with.
        requirements: requirements for the index.
        path: file to write.

    Returns:
        The manifest entry: how to open the index, and the measurement.

    Raises:
        OptionError: the spec does not fit the vectors, or no index fits into the memory.
    """
    sample = {name: queries for name, queries in sample.items() if len(queries) > 1}
    if spec != registry.AUTO or not sample or _is_small(vectors, requirements):
        index = registry.build(spec, vectors, seed=requirements.seed, device=requirements.device, path=path)
        if not isinstance(index, RefinedIndex):
            return manifest_entry(index)
        return _tune_and_measure(index, vectors, sample, requirements)
    truth = GroundTruth.of(sample, vectors)
    tried: list[_Candidate] = []
    for name in _candidates(len(vectors), vectors.shape[1], requirements):
        if name == registry.GRAPH and _is_fast(_best(tried, requirements), requirements):
            continue
        candidate_path = path.with_name(f"candidate.{path.name}")
        tried.append(_candidate(name, vectors, truth, requirements, candidate_path))
        if _best(tried, requirements) is tried[-1]:
            faiss_files.move(candidate_path, path)
        else:
            faiss_files.remove(candidate_path)
    chosen = _best(tried, requirements)
    considered = [{**_kind_and_factory(each.entry), **each.measured.as_dict()} for each in tried]
    return {
        **_tune_for_filters(chosen.entry, vectors, truth, requirements, path),
        "target": requirements.recall,
        "measured": chosen.measured.as_dict(),
        "considered": considered,
    }


def manifest_entry(index: VectorIndex) -> dict[str, Any]:
    """Return the manifest entry that is needed to open the index."""
    entry: dict[str, Any] = {"kind": index.kind, "vectors": len(index)}
    if isinstance(index, RefinedIndex):
        entry |= {"factory": index.factory, **index.effort.as_entry()}
    return entry


def _kind_and_factory(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("kind", "factory") if name in entry}


def _tune_for_filters(
    entry: Mapping[str, Any], vectors: MatrixLike, truth: GroundTruth, requirements: Requirements, path: Path
) -> dict[str, Any]:
    """Return the entry of the chosen index, with efforts for filtered searches."""
    index = load_index.load(entry, path)
    if isinstance(index, RefinedIndex):
        index.effort = tuning.tune_for_filters(
            index, truth.half(0), requirements.recall, vectors, requirements.seed
        )
    return manifest_entry(index)


def _is_small(vectors: MatrixLike, requirements: Requirements) -> bool:
    size = len(vectors) * vectors.shape[1]
    return size <= SMALL_SIZE and (requirements.memory is None or 4 * size <= requirements.memory)


def _tune_and_measure(
    index: RefinedIndex, vectors: MatrixLike, sample: Sample, requirements: Requirements
) -> dict[str, Any]:
    if requirements.memory is not None and index.bytes > requirements.memory:
        raise OptionError(
            f"index {index.factory} takes {index.bytes:,} bytes, more than the {requirements.memory:,} of --memory: "
            "allow more, or choose --index auto"
        )
    if not sample:
        return manifest_entry(index)
    truth = GroundTruth.of(sample, vectors)
    index.effort = tuning.tune(index, truth.half(0), requirements.recall)
    index.effort = tuning.tune_for_filters(
        index, truth.half(0), requirements.recall, vectors, requirements.seed
    )
    measured = tuning.measure(index, truth.half(1)).as_dict()
    return {**manifest_entry(index), "target": requirements.recall, "measured": measured}


def _candidates(count: int, dimension: int, requirements: Requirements) -> list[str]:
    """Return the specs of all candidates that fit into the memory."""
    limit = requirements.memory or float("inf")
    names = [] if 4 * count * dimension > limit else [FlatIndex.kind]
    coded = [registry.FASTSCAN]
    if count >= MIN_INVERTED:
        # More lists mean less to scan; fewer keep their centres in the cache. Which is faster depends on the vectors.
        lists = registry.list_count_for(count)
        coded += [
            registry.INVERTED_FASTSCAN,
            *(registry.inverted_factory(more_or_less, dimension) for more_or_less in (lists // 2, 2 * lists)),
        ]
    factories = {name: registry.factory_string(name, count, dimension) for name in coded}
    names += [name for name in coded if registry.fastscan_bytes(factories[name], count, dimension) <= limit]
    if count >= MIN_INVERTED and registry.graph_bytes(count, dimension) <= (
        requirements.memory or MAX_GRAPH_BYTES
    ):
        names.append(registry.GRAPH)
    if not names:
        coarser = f"IVF1,PQ{dimension // 4 if dimension % 4 == 0 else 1}x4fs"
        if registry.fastscan_bytes(coarser, count, dimension) > limit:
            needed = registry.fastscan_bytes(coarser, count, dimension)
            raise OptionError(
                f"no index of {count:,} vectors of {dimension} numbers fits into {limit:,} bytes: "
                f"--memory must be at least {needed:,}"
            )
        names.append(coarser)
    return names


def _candidate(
    spec: str, vectors: MatrixLike, truth: GroundTruth, requirements: Requirements, path: Path
) -> _Candidate:
    index = registry.build(spec, vectors, seed=requirements.seed, device=requirements.device, path=path)
    if isinstance(index, RefinedIndex):
        index.effort = tuning.tune(index, truth.half(0), requirements.recall)
    return _Candidate(manifest_entry(index), tuning.measure(index, truth.half(1)))


def _is_fast(best: _Candidate, requirements: Requirements) -> bool:
    return best.recall() >= requirements.recall and best.time(requirements.favour) < MIN_GRAPH_MS


def _best(tried: list[_Candidate], requirements: Requirements) -> _Candidate:
    """Return the fastest candidate with sufficient recall; if there is none, the one with the highest recall."""
    enough = [each for each in tried if each.recall() >= requirements.recall]
    if enough:
        return min(enough, key=lambda each: each.time(requirements.favour))
    return max(tried, key=_Candidate.recall)
