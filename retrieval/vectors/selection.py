"""What ``auto`` means: candidates are built of the corpus, measured on its own queries, and one is chosen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.arrays.lazy import MatrixLike
from retrieval.errors import OptionError
from retrieval.validation import known
from retrieval.vectors import faiss_files, load_index, registry, tuning
from retrieval.vectors.base import VectorIndex
from retrieval.vectors.flat import FlatIndex
from retrieval.vectors.query_sample import Sample
from retrieval.vectors.refined import RefinedIndex
from retrieval.vectors.tuning import Measured, Truth

SMALL = 2**23
"""Numbers up to which everything is compared in a millisecond or two: 20,000 vectors of 384, and nothing to choose."""

INVERTED_FROM = 50_000
"""Vectors from which lists are tried: with fewer, scanning all the codes takes less than a query's other work."""

GRAPH_BYTES = 2**32
"""Memory that a graph may take where no other bound is given; while it is built, its vectors are in memory as well."""

GRAPH_FROM_MS = 0.5
"""Milliseconds a query from which on a graph is tried: it takes longer to build than all the others together."""

SINGLE, BATCH = FAVOURS = ("single", "batch")


_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def check_recall(recall: float) -> float:
    """``recall`` itself.

    Raises:
        OptionError: it is no share.
    """
    if not 0 < recall <= 1:
        raise OptionError(f"recall must be above 0 and at most 1, not {recall}")
    return recall


def check_memory(memory: str | int) -> int:
    """Bytes, of a number of them or a text such as ``"4GB"`` (of 1,024 MB) or ``"500M"``.

    Raises:
        OptionError: it is neither.
    """
    written = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?B)?", str(memory), re.IGNORECASE)
    size = int(float(written[1]) * 1024 ** _UNITS[written[2].upper()]) if written else 0
    if size < 1:
        raise OptionError(f"memory must be a size such as 4GB or 500MB, not {memory!r}")
    return size


def check_favour(favour: str) -> str:
    """``favour`` itself.

    Raises:
        OptionError: it is none of ``FAVOURS``.
    """
    return known("way of asking", favour, FAVOURS)


@dataclass(frozen=True, slots=True)
class Needs:
    """What is asked of an index.

    Attributes:
        recall: the share of exact search's ten best that every modality's queries must find.
        memory: bytes that an index may take; any number when None.
        favour: whether ``"single"`` queries or a ``"batch"`` must be fast.
        seed: of the samples.
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
    measured: Measured

    def time(self, favour: str) -> float:
        return self.measured.ms if favour == SINGLE else self.measured.batch_ms

    def found(self) -> float:
        return min(self.measured.recall.values())


def build(spec: str, vectors: MatrixLike, sample: Sample, needs: Needs, path: Path) -> dict[str, Any]:
    """Write an index of ``vectors`` (n, d) float32, tuned and measured where it is approximate.

    Vectors are gone through in blocks, and one candidate is there at a time.

    Args:
        spec: as ``registry.check`` accepts.
        vectors: what is indexed.
        sample: queries of all modalities that will ask.
        needs: what is asked of the index.
        path: where it is written.

    Returns:
        The manifest's entry: how to open it, and what was measured.

    Raises:
        OptionError: the spec does not fit the vectors, or nothing fits into the memory.
    """
    asking = {name: queries for name, queries in sample.items() if len(queries) > 1}
    if spec != registry.AUTO or not asking or _is_small(vectors, needs):
        index = registry.build(spec, vectors, seed=needs.seed, device=needs.device, path=path)
        if not isinstance(index, RefinedIndex):
            return described(index)
        return _measured_alone(index, vectors, asking, needs)
    truth = Truth.of(asking, vectors)
    tried: list[_Candidate] = []
    for name in _candidates(len(vectors), vectors.shape[1], needs):
        if name == registry.GRAPH and _is_fast(_best(tried, needs), needs):
            continue
        own = path.with_name(f"candidate.{path.name}")
        tried.append(_candidate(name, vectors, truth, needs, own))
        if _best(tried, needs) is tried[-1]:
            faiss_files.move(own, path)
        else:
            faiss_files.remove(own)
    chosen = _best(tried, needs)
    considered = [{**_named(each.entry), **each.measured.as_dict()} for each in tried]
    return {
        **_for_filters(chosen.entry, vectors, truth, needs, path),
        "target": needs.recall,
        "measured": chosen.measured.as_dict(),
        "considered": considered,
    }


def described(index: VectorIndex) -> dict[str, Any]:
    """What the manifest must say for the index to be opened."""
    entry: dict[str, Any] = {"kind": index.kind, "vectors": len(index)}
    if isinstance(index, RefinedIndex):
        entry |= {"factory": index.factory, **index.effort.as_entry()}
    return entry


def _named(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("kind", "factory") if name in entry}


def _for_filters(
    entry: Mapping[str, Any], vectors: MatrixLike, truth: Truth, needs: Needs, path: Path
) -> dict[str, Any]:
    """The entry of the chosen index, with what it takes when a filter leaves some of the rows."""
    index = load_index.load(entry, path)
    if isinstance(index, RefinedIndex):
        index.effort = tuning.filtered(index, truth.half(0), needs.recall, vectors, needs.seed)
    return described(index)


def _is_small(vectors: MatrixLike, needs: Needs) -> bool:
    size = len(vectors) * vectors.shape[1]
    return size <= SMALL and (needs.memory is None or 4 * size <= needs.memory)


def _measured_alone(index: RefinedIndex, vectors: MatrixLike, sample: Sample, needs: Needs) -> dict[str, Any]:
    if needs.memory is not None and index.bytes > needs.memory:
        raise OptionError(
            f"index {index.factory} takes {index.bytes:,} bytes, more than the {needs.memory:,} of --memory: "
            "allow more, or choose --index auto"
        )
    if not sample:
        return described(index)
    truth = Truth.of(sample, vectors)
    index.effort = tuning.tuned(index, truth.half(0), needs.recall)
    index.effort = tuning.filtered(index, truth.half(0), needs.recall, vectors, needs.seed)
    measured = tuning.measure(index, truth.half(1)).as_dict()
    return {**described(index), "target": needs.recall, "measured": measured}


def _candidates(count: int, dimension: int, needs: Needs) -> list[str]:
    """Specs whose index fits into the memory, of which one is chosen."""
    limit = needs.memory or float("inf")
    names = [] if 4 * count * dimension > limit else [FlatIndex.kind]
    coded = [registry.FASTSCAN]
    if count >= INVERTED_FROM:
        # More lists mean less to scan, fewer that their centres stay in the cache: it depends on the vectors.
        lists = registry.lists_for(count)
        coded += [
            registry.INVERTED_FASTSCAN,
            *(registry.inverted(own, dimension) for own in (lists // 2, 2 * lists)),
        ]
    factories = {name: registry.factory_of(name, count, dimension) for name in coded}
    names += [name for name in coded if registry.coded_bytes(factories[name], count, dimension) <= limit]
    if count >= INVERTED_FROM and registry.graph_bytes(count, dimension) <= (needs.memory or GRAPH_BYTES):
        names.append(registry.GRAPH)
    if not names:
        coarser = f"IVF1,PQ{dimension // 4 if dimension % 4 == 0 else 1}x4fs"
        if registry.coded_bytes(coarser, count, dimension) > limit:
            least = registry.coded_bytes(coarser, count, dimension)
            raise OptionError(
                f"no index of {count:,} vectors of {dimension} numbers fits into {limit:,} bytes: "
                f"--memory must be {least:,} at least"
            )
        names.append(coarser)
    return names


def _candidate(spec: str, vectors: MatrixLike, truth: Truth, needs: Needs, path: Path) -> _Candidate:
    index = registry.build(spec, vectors, seed=needs.seed, device=needs.device, path=path)
    if isinstance(index, RefinedIndex):
        index.effort = tuning.tuned(index, truth.half(0), needs.recall)
    return _Candidate(described(index), tuning.measure(index, truth.half(1)))


def _is_fast(best: _Candidate, needs: Needs) -> bool:
    return best.found() >= needs.recall and best.time(needs.favour) < GRAPH_FROM_MS


def _best(tried: list[_Candidate], needs: Needs) -> _Candidate:
    """The fastest of those that find enough; where none does, the one that finds most."""
    enough = [each for each in tried if each.found() >= needs.recall]
    if enough:
        return min(enough, key=lambda each: each.time(needs.favour))
    return max(tried, key=_Candidate.found)
