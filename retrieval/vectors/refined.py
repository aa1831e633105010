"""Approximate search: FAISS finds candidates, which are re-ranked by the stored vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from retrieval.arrays import lazy
from retrieval.arrays.lazy import MatrixLike
from retrieval.errors import OptionError
from retrieval.types import Integers, Matrix
from retrieval.vectors import faiss_files, faiss_gpu, faiss_module, hnsw_graph
from retrieval.vectors.base import Explain, Rows, Subset, break_ties_by_row, empty_results, silent
from retrieval.vectors.half_precision import HalfPrecisionVectors
from retrieval.vectors.search_effort import Effort, Parameters, list_count

SCAN_SHARE = 0.05
"""Subsets up to this share of the rows are compared exactly, if the index was not tuned for subsets."""

NEARLY_ALL = 0.9
"""Subsets from this share of the rows on always use the index, whatever was tuned: only the dead rows of an updated
index are missing, and comparing all others because of them would make the index useless."""

EXACT_ROWS = 1_000
"""Up to this many rows are always compared exactly."""

TRAINING = 65_536
"""Vectors that an index is trained on; at least 64 per list of an inverted file."""

TRAINING_CODES = 4096
"""The same where only lists and 4-bit codes are learned: FAISS uses 256 for each value of a code."""


class RefinedIndex:
    """Any FAISS index, with its vectors also stored on disk at half precision, memory-mapped.

    FAISS's ``IndexRefine`` combines the two. An index trained on other data can only miss candidates: scores are always
    computed from the stored vectors.
    """

    exact = False

    def __init__(
        self,
        kind: str,
        factory: str,
        base: Any,
        stored: HalfPrecisionVectors,
        effort: Effort,
        *,
        device: str = "cpu",
    ) -> None:
        """Combine an index and its vectors.

        Args:
            kind: registered name of the index.
            factory: its FAISS factory string.
            base: the FAISS index that finds candidates.
            stored: the vectors that candidates are ranked by.
            effort: default effort of a search.
            device: ``"cuda"`` puts the index on the GPUs, or its vectors if GPUs do not support its kind.

        Raises:
            DependencyError, DeviceError: there is no GPU.
        """
        faiss = faiss_module.load()
        hnsw_graph.share_vectors(base, stored.index)
        self.kind = kind
        self.factory = factory
        self.base = base
        self.stored = stored
        self.effort = effort
        self._candidate_indexes = {"cpu": base}
        if device == "cuda":
            on_gpu = base if faiss_gpu.supports(base) else _flat_index(stored)
            self._candidate_indexes["cuda"] = faiss_gpu.to_gpus(on_gpu)
        self._refined = {
            name: faiss.IndexRefine(index, stored.index) for name, index in self._candidate_indexes.items()
        }
        is_flat_on_gpu = device == "cuda" and not faiss_gpu.supports(base)
        self._parameters = {"cpu": Parameters(base), "cuda": Parameters(None if is_flat_on_gpu else base)}

    @classmethod
    def build(
        cls,
        kind: str,
        factory: str,
        vectors: MatrixLike,
        *,
        seed: int = 0,
        device: str = "cpu",
        path: Path | None = None,
        options: Mapping[str, float] = MappingProxyType({}),
    ) -> RefinedIndex:
        """Build an index of ``vectors`` (n, dimension) float32; on the CPU they are processed in blocks.

        Args:
            kind: registered name of the index.
            factory: FAISS factory string, or ``faiss_gpu.CAGRA``.
            vectors: the vectors to index; the index is trained on a sample of them.
            seed: seed of the sample.
            device: ``"cuda"`` trains and adds on a GPU.
            path: file to write to, the vectors block by block; in memory only if None.
            options: FAISS build options, by their names in its ``ParameterSpace``.

        Raises:
            OptionError: FAISS rejects the factory string for these vectors.
        """
        faiss = faiss_module.load()
        try:
            if factory == faiss_gpu.CAGRA:
                base = faiss_gpu.build_cagra(vectors[:])
            else:
                base = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
                for name, value in options.items():
                    faiss.ParameterSpace().set_index_parameter(base, name, value)
                least = TRAINING_CODES if factory.endswith("x4fs") else TRAINING
                size = min(len(vectors), max(least, 64 * list_count(base)))
                sample = np.random.default_rng(seed).choice(len(vectors), size, replace=False)
                # An NSG graph can only be filled with all vectors at once, also inside another index.
                parts = [slice(None)] if "NSG" in factory else lazy.blocks(vectors)
                base = _fill(base, vectors[np.sort(sample)], vectors, parts, device)
        except RuntimeError as error:
            raise OptionError(
                f"FAISS cannot make index {factory!r} of {len(vectors):,} vectors of {vectors.shape[1]} "
                f"numbers: {faiss_module.reason(error)}"
            ) from error
        if path is None:
            return cls(kind, factory, base, HalfPrecisionVectors.build(vectors), Effort())
        faiss_files.write(base, path)
        return cls(
            kind, factory, base, HalfPrecisionVectors.build(vectors, faiss_files.stored(path)), Effort()
        )

    @property
    def dimension(self) -> int:
        """Number of columns of a vector."""
        return self.stored.shape[1]

    def __len__(self) -> int:
        """Number of vectors."""
        return len(self.stored)

    @cached_property
    def bytes(self) -> int:
        """Bytes in memory of the candidate index: its size in a FAISS file, plus stored vectors that a graph uses."""
        writer = faiss_module.load().VectorIOWriter()
        faiss_module.load().write_index(self.base, writer, hnsw_graph.write_flags(self.base))
        return int(writer.data.size()) + (
            self.stored.bytes if hnsw_graph.uses_stored_vectors(self.base) else 0
        )

    @cached_property
    def can_filter(self) -> bool:
        """Whether the FAISS index can search a subset of rows."""
        try:
            probe = np.zeros((1, self.dimension), np.float32)
            self._search_candidates(probe, 1, Subset(np.zeros(1, np.int64), len(self)), self.effort)
        except RuntimeError:
            return False
        return True

    def search(
        self,
        queries: Matrix,
        k: int,
        rows: Rows = None,
        *,
        explain: Explain = silent,
        effort: Effort | None = None,
    ) -> tuple[Matrix, Integers]:
        """See ``VectorIndex.search``; ``effort`` overrides the default for this search."""
        subset = Subset.of(rows, len(self))
        count = len(self) if subset is None else len(subset)
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        k = min(k, count)
        if not k or not len(queries):
            explain("there are no queries" if count else "no vector matches")
            return empty_results(queries, k)
        effort_used = effort or self.effort
        if self.compares_all(effort_used, k, subset):
            what = f"all {count:,} vectors" if subset is None else str(subset)
            explain(f"{what}: few enough to compare just those, exactly")
            return self.stored.best(queries, k, subset)
        if explain is not silent:
            explain(self._explanation(subset, effort_used, k))

        def search(requested: int) -> tuple[Matrix, Integers]:
            scores, found = self._search_candidates(queries, requested, subset, effort_used)
            if found.min() < 0:
                short = np.flatnonzero((found < 0).any(axis=1))
                explain(f"{len(short)} queries found fewer than {requested}: all searched rows are compared")
                scores[short], found[short] = self.stored.best(queries[short], requested, subset)
            return scores, found

        return break_ties_by_row(search, k, count)

    def compares_all(self, effort: Effort, k: int, subset: Subset | None) -> bool:
        """Return whether a search for ``k`` hits compares all searched rows exactly."""
        count = len(self) if subset is None else len(subset)
        if count <= max(EXACT_ROWS, 2 * effort.candidates(k)):
            return True
        if subset is None:
            return False
        if effort.filtered is None:
            return subset.share <= SCAN_SHARE or not self.can_filter
        smallest = effort.filtered[-1][0] if effort.filtered else NEARLY_ALL
        return subset.share < smallest or not self.can_filter

    def _explanation(self, subset: Subset | None, effort: Effort, k: int) -> str:
        effort, lists = effort.for_subset(subset), list_count(self.base)
        steps = [f"{min(effort.probes, lists)} of {lists} lists"] if lists else []
        steps.append(f"{effort.candidates(k):,} candidates")
        what = f"index {self.factory}" if subset is None else f"{subset} by bitmap in index {self.factory}"
        return f"{what}: {', '.join(steps)} ranked by the stored vectors"

    def _search_candidates(
        self, queries: Matrix, count: int, subset: Subset | None, effort: Effort
    ) -> tuple[Matrix, Integers]:
        """Return (q, count) scores and rows, in any order; the row is -1 where fewer were found."""
        # FAISS on GPUs cannot search a subset.
        device = "cuda" if subset is None and "cuda" in self._refined else "cpu"
        # Parameters are passed with the call, because threads share the index and it must not change.
        parameters = self._parameters[device].of(effort, count, subset)
        candidates: tuple[Matrix, Integers] = faiss_module.search(
            self._refined[device], queries, count, parameters
        )
        return candidates

    def vectors(self, rows: Integers | None = None) -> Matrix:
        """See ``VectorIndex.vectors``; they have half precision."""
        return self.stored[slice(None) if rows is None else rows]

    def save(self, path: Path) -> None:
        """Write two files: the candidate index to ``path``, and the vectors beside it."""
        faiss_files.write(self.base, path)
        self.stored.save(faiss_files.stored(path))

    @classmethod
    def load(
        cls, kind: str, factory: str, path: Path, effort: Effort, *, device: str = "cpu"
    ) -> RefinedIndex:
        """Open an index written by ``save``, memory-mapped where FAISS can.

        Raises:
            DamagedIndexError: FAISS cannot read a file.
        """
        return cls(
            kind,
            factory,
            faiss_files.read(path),
            HalfPrecisionVectors.load(faiss_files.stored(path)),
            effort,
            device=device,
        )


def _fill(base: Any, training: Matrix, vectors: MatrixLike, parts: Iterable[slice], device: str) -> Any:
    """Train and fill ``base``, on a GPU if one is available that supports it."""
    if device == "cuda" and faiss_gpu.available() and faiss_gpu.supports(base):
        return faiss_gpu.build(base, training, vectors[:])
    base.train(training)
    for part in parts:
        base.add(np.ascontiguousarray(vectors[part], dtype=np.float32))
    return base


def _flat_index(stored: HalfPrecisionVectors) -> Any:
    """Return a flat FAISS index of the vectors."""
    flat = faiss_module.load().IndexFlatIP(stored.shape[1])
    for block in lazy.blocks(stored):
        flat.add(stored[block])
    return flat
