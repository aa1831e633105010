"""Approximate search: FAISS proposes candidates, which are ranked by the stored vectors themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from retrieval.arrays import lazy as rows_of
from retrieval.arrays.lazy import MatrixLike
from retrieval.errors import OptionError
from retrieval.types import Integers, Matrix
from retrieval.vectors import faiss_files, faiss_gpu, faiss_module, hnsw_graph
from retrieval.vectors.base import Explain, Rows, Subset, empty, in_order, silent
from retrieval.vectors.half_precision import HalfPrecisionVectors
from retrieval.vectors.search_effort import Effort, Parameters, lists

SCAN_SHARE = 0.05
"""Share of the rows up to which those are compared exactly where the index was not tuned for fewer."""

NEARLY_ALL = 0.9
"""Share of the rows from which on the index is asked, whatever was tuned: what is missing are the dead of an updated
index, and comparing all the others for their sake would be no index at all."""

SCAN_ANYWAY = 1_000
"""Rows that are compared at once anyway."""

TRAINING = 65_536
"""Vectors that an index is trained on, at the least 64 a list of an inverted file."""

TRAINING_CODES = 4096
"""The same where nothing but the lists and codes of 4 bits are learned: FAISS takes 256 for each of a code's values."""


class RefinedIndex:
    """Any index of FAISS over vectors that also lie on disk at half precision, memory-mapped.

    FAISS's own ``IndexRefine`` joins the two. An index trained elsewhere can only lose candidates; scores
    are always those of the stored vectors.
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
        """Join an index and its vectors.

        Args:
            kind: the name it is registered under.
            factory: how FAISS calls it.
            base: the index of FAISS that proposes.
            stored: the vectors that decide.
            effort: what a search spends unless it is told otherwise.
            device: ``"cuda"`` puts the index on the GPUs, or where they take none of its kind, the vectors.

        Raises:
            DependencyError, DeviceError: there is no GPU.
        """
        faiss = faiss_module.load()
        hnsw_graph.share(base, stored.index)
        self.kind = kind
        self.factory = factory
        self.base = base
        self.stored = stored
        self.effort = effort
        self._proposing = {"cpu": base}
        if device == "cuda":
            self._proposing["cuda"] = faiss_gpu.place(base if faiss_gpu.takes(base) else _flat(stored))
        self._refined = {
            name: faiss.IndexRefine(index, stored.index) for name, index in self._proposing.items()
        }
        takes_none = device == "cuda" and not faiss_gpu.takes(base)
        self._parameters = {"cpu": Parameters(base), "cuda": Parameters(None if takes_none else base)}

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
        """An index of ``vectors`` (n, dimension) float32, which are gone through in blocks on a processor.

        Args:
            kind: the name it is registered under.
            factory: FAISS's factory string, or ``gpu.CAGRA``.
            vectors: what is indexed; it is trained on a sample of them.
            seed: of the sample.
            device: ``"cuda"`` trains and adds on a GPU.
            path: where it is written, the vectors block by block; in memory alone when None.
            options: what FAISS is told before it builds, by the names of its ``ParameterSpace``.

        Raises:
            OptionError: FAISS refuses the string for vectors like these.
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
                size = min(len(vectors), max(least, 64 * lists(base)))
                chosen = np.random.default_rng(seed).choice(len(vectors), size, replace=False)
                # A graph of this kind takes all its vectors at once, or none, whatever it stands in.
                parts = [slice(None)] if "NSG" in factory else rows_of.blocks(vectors)
                base = _filled(base, vectors[np.sort(chosen)], vectors, parts, device)
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
        """Columns of a vector."""
        return self.stored.shape[1]

    def __len__(self) -> int:
        """Number of vectors."""
        return len(self.stored)

    @cached_property
    def bytes(self) -> int:
        """What the proposing index takes in memory: what FAISS writes of it, and vectors that a graph walks over."""
        writer = faiss_module.load().VectorIOWriter()
        faiss_module.load().write_index(self.base, writer, hnsw_graph.flags(self.base))
        return int(writer.data.size()) + (self.stored.bytes if hnsw_graph.walks_stored(self.base) else 0)

    @cached_property
    def selects(self) -> bool:
        """Whether FAISS's index can be asked for some rows only."""
        try:
            probe = np.zeros((1, self.dimension), np.float32)
            self._propose(probe, 1, Subset(np.zeros(1, np.int64), len(self)), self.effort)
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
        """See ``VectorIndex.search``; ``effort`` is that of this search alone."""
        subset = Subset.of(rows, len(self))
        count = len(self) if subset is None else len(subset)
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        k = min(k, count)
        if not k or not len(queries):
            explain(f"nothing to compare with {len(queries)} queries" if count else "no vector matches")
            return empty(queries, k)
        spent = effort or self.effort
        if self.compares_all(spent, k, subset):
            what = f"all {count:,} vectors" if subset is None else str(subset)
            explain(f"{what}: few enough to compare just those, exactly")
            return self.stored.best(queries, k, subset)
        if explain is not silent:
            explain(self._told(subset, spent, k))

        def search(asked: int) -> tuple[Matrix, Integers]:
            scores, found = self._propose(queries, asked, subset, spent)
            if found.min() < 0:
                lacking = np.flatnonzero((found < 0).any(axis=1))
                explain(
                    f"{len(lacking)} queries found fewer than {asked}: every vector that counts is compared"
                )
                scores[lacking], found[lacking] = self.stored.best(queries[lacking], asked, subset)
            return scores, found

        return in_order(search, k, count)

    def compares_all(self, effort: Effort, k: int, subset: Subset | None) -> bool:
        """Whether a search for ``k`` hits compares all the rows that count, exactly."""
        count = len(self) if subset is None else len(subset)
        if count <= max(SCAN_ANYWAY, 2 * effort.candidates(k)):
            return True
        if subset is None:
            return False
        if effort.filtered is None:
            return subset.share <= SCAN_SHARE or not self.selects
        least = effort.filtered[-1][0] if effort.filtered else NEARLY_ALL
        return subset.share < least or not self.selects

    def _told(self, subset: Subset | None, effort: Effort, k: int) -> str:
        spent = effort.among(subset)
        names = (
            [f"{min(spent.probes, lists(self.base))} of {lists(self.base)} lists"] if lists(self.base) else []
        )
        what = f"index {self.factory}" if subset is None else f"{subset} by bitmap in index {self.factory}"
        return f"{what}: {', '.join([*names, f'{spent.candidates(k):,} candidates'])} ranked by the stored vectors"

    def _propose(
        self, queries: Matrix, asked: int, subset: Subset | None, effort: Effort
    ) -> tuple[Matrix, Integers]:
        """(q, asked) scores and rows, in any order; row -1 where fewer were found."""
        device = "cuda" if subset is None and "cuda" in self._refined else "cpu"  # GPUs know no subsets
        # Parameters travel with the call: the index is shared by threads and must not change.
        parameters = self._parameters[device].of(effort, asked, subset)
        found: tuple[Matrix, Integers] = faiss_module.searched(
            self._refined[device], queries, asked, parameters
        )
        return found

    def vectors(self, rows: Integers | None = None) -> Matrix:
        """See ``VectorIndex.vectors``; at half precision."""
        return self.stored[slice(None) if rows is None else rows]

    def save(self, path: Path) -> None:
        """Write two files: what proposes to ``path``, the vectors beside it."""
        faiss_files.write(self.base, path)
        self.stored.save(faiss_files.stored(path))

    @classmethod
    def load(
        cls, kind: str, factory: str, path: Path, effort: Effort, *, device: str = "cpu"
    ) -> RefinedIndex:
        """Read what ``save`` wrote, memory-mapped as far as FAISS can.

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


def _filled(base: Any, training: Matrix, vectors: MatrixLike, parts: Iterable[slice], device: str) -> Any:
    """``base`` trained and filled, on a GPU where there is one that takes it."""
    if device == "cuda" and faiss_gpu.available() and faiss_gpu.takes(base):
        return faiss_gpu.build(base, training, vectors[:])
    base.train(training)
    for part in parts:
        base.add(np.ascontiguousarray(vectors[part], dtype=np.float32))
    return base


def _flat(stored: HalfPrecisionVectors) -> Any:
    """The vectors as an index that compares them all."""
    flat = faiss_module.load().IndexFlatIP(stored.shape[1])
    for block in rows_of.blocks(stored):
        flat.add(stored[block])
    return flat
