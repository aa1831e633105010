"""Registry of all kinds of vector index: their names, and how they are built and opened."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retrieval.arrays.lazy import MatrixLike
from retrieval.errors import DamagedIndexError, OptionError
from retrieval.vectors import faiss_gpu, faiss_module
from retrieval.vectors.base import VectorIndex
from retrieval.vectors.exact import ExactIndex
from retrieval.vectors.flat import FlatIndex
from retrieval.vectors.refined import RefinedIndex
from retrieval.vectors.search_effort import Effort

AUTO = "auto"
FASTSCAN = "fastscan"
INVERTED_FASTSCAN = "ivf-fastscan"
GRAPH = "hnsw"
FACTORY = "factory"
"""Kind of an index that is specified by a FAISS factory string."""

EXACT: Mapping[str, Any] = {FlatIndex.kind: FlatIndex, ExactIndex.kind: ExactIndex}
APPROXIMATE = (FASTSCAN, INVERTED_FASTSCAN, GRAPH, faiss_gpu.CAGRA)
KINDS = (*EXACT, *APPROXIMATE, FACTORY)
SPECS = (AUTO, *EXACT, *APPROXIMATE)
"""Values of ``--index``, besides FAISS factory strings."""

LINKS = 32
"""Neighbours of each vector in the graph; twice as many on the lowest level."""

EF_CONSTRUCTION = 100
"""Candidates from which those neighbours are chosen (``efConstruction``). With FAISS's default of 40, a graph of
100,000 clustered vectors is built in a fraction of the time, but a beam of 32 then has a recall of 0.84, not 0.99."""

MIN_VECTORS = 1_000
"""With fewer vectors an index is always flat: an approximate one would save nothing, and has too little to train on."""


def check_index_spec(spec: str) -> str:
    """Return ``spec`` if it is valid.

    Raises:
        OptionError: it is neither one of ``SPECS`` nor a factory string.
    """
    if spec in SPECS:
        return spec
    faiss = faiss_module.load()
    try:
        faiss.index_factory(64, spec, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        # Whether a factory string fits the dimension is checked later, when there are vectors.
        if "could not parse" in str(error) or "not recognized" in str(error):
            raise OptionError(
                f"unknown index {spec!r}: expected one of {', '.join(SPECS)}, or a factory string of FAISS"
            ) from None
    return spec


def factory_string(spec: str, count: int, dimension: int) -> str:
    """Return the FAISS factory string of an approximate index of ``count`` vectors.

    FastScan is product quantisation to 4 bits per part, scanned in registers (André, Kermarrec and
    Le Scouarnec 2015). It is always put under an inverted file, even one with a single list, because FAISS can
    then search a subset of rows. A graph (Malkov and Yashunin 2018) is searched over the stored vectors.
    """
    if spec == GRAPH:
        return f"HNSW{LINKS}_SQfp16"
    if spec == FASTSCAN:
        return inverted_factory(1, dimension)
    if spec == INVERTED_FASTSCAN:
        return inverted_factory(list_count_for(count), dimension)
    return spec


def inverted_factory(lists: int, dimension: int) -> str:
    """Return the FAISS factory string of FastScan with ``lists`` inverted lists."""
    return f"IVF{lists},PQ{dimension // 2 if dimension % 2 == 0 else dimension}x4fs"


def fastscan_bytes(factory: str, count: int, dimension: int) -> int:
    """Return bytes in memory of a FastScan index: half a byte per part, 8 per row number, and the list centres."""
    parsed = re.fullmatch(r"IVF(\d+),PQ(\d+)x4fs", factory)
    lists, parts = (int(parsed[1]), int(parsed[2])) if parsed else (0, 2 * dimension)
    return -(-count * (parts + 16) // 2) + 4 * lists * dimension


def graph_bytes(count: int, dimension: int) -> int:
    """Return bytes in memory of a graph: its links, and the half-precision vectors, which it reads in random order."""
    links = 2 * LINKS + LINKS / (LINKS - 1)  # on all levels: one vector in LINKS is on the next one
    return int(count * (4 * links + 12 + 2 * dimension))


def list_count_for(count: int) -> int:
    """Return the number of lists of an inverted file: 2 sqrt(``count``), each with enough to train on."""
    return max(1, min(int(2 * math.sqrt(count)), count // 64))


def build(
    spec: str, vectors: MatrixLike, *, seed: int = 0, device: str = "cpu", path: Path | None = None
) -> VectorIndex:
    """Build an index of ``vectors`` (n, dimension) float32; ``auto`` builds a flat one here, without measuring.

    Args:
        spec: an index spec that ``check_index_spec`` accepts.
        vectors: the vectors to index.
        seed: seed of the training sample of an approximate index.
        device: ``"cuda"`` trains and adds on a GPU.
        path: file that the vectors are written to block by block and then memory-mapped from; in memory only if None.

    Raises:
        OptionError: the spec is unknown or does not fit the vectors.
    """
    check_index_spec(spec)
    if spec == ExactIndex.kind:
        return ExactIndex.build(vectors, path)
    if spec in (AUTO, FlatIndex.kind) or len(vectors) < MIN_VECTORS:
        return FlatIndex.build(vectors, path)
    kind = spec if spec in APPROXIMATE else FACTORY
    factory = factory_string(spec, len(vectors), vectors.shape[1])
    options = {"efConstruction": EF_CONSTRUCTION} if kind == GRAPH else {}
    return RefinedIndex.build(kind, factory, vectors, seed=seed, device=device, path=path, options=options)


def load(
    kind: str, path: Path, *, device: str = "cpu", factory: str = "", effort: Effort | None = None
) -> VectorIndex:
    """Open the index of ``kind`` that was saved at ``path``.

    Args:
        kind: registered name of the index.
        path: file that it was saved to.
        device: ``"cuda"`` searches on GPUs.
        factory: FAISS factory string of an approximate index.
        effort: default effort of a search.

    Raises:
        DamagedIndexError: the kind is unknown or a file cannot be read.
        DependencyError, DeviceError: there is no GPU.
    """
    if kind in EXACT:
        index: VectorIndex = EXACT[kind].load(path, device=device)
        return index
    if kind not in KINDS:
        raise DamagedIndexError(
            f"{path} is an index of unknown kind {kind!r}: upgrade xmodal or rebuild the index"
        )
    return RefinedIndex.load(kind, factory, path, effort or Effort(), device=device)
