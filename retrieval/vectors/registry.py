"""The one place that knows every kind of vector index: its name, how it is made, and how it is opened."""

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
"""The kind of those that are named by a factory string."""

EXACT: Mapping[str, Any] = {FlatIndex.kind: FlatIndex, ExactIndex.kind: ExactIndex}
APPROXIMATE = (FASTSCAN, INVERTED_FASTSCAN, GRAPH, faiss_gpu.CAGRA)
KINDS = (*EXACT, *APPROXIMATE, FACTORY)
SPECS = (AUTO, *EXACT, *APPROXIMATE)
"""What ``--index`` accepts, besides factory strings of FAISS."""

LINKS = 32
"""Neighbours of a vector in the graph, twice as many on its lowest level."""

LOOKED_AT = 100
"""Candidates from which those neighbours are chosen (``efConstruction``). With FAISS's 40 a graph of
100,000 clustered vectors is built in a fraction of the time, but a beam of 32 then finds 0.84 and not 0.99."""

FEWEST = 1_000
"""Vectors below which an index is flat whatever was asked for: there is nothing to win, and little to learn from."""


def check_index_spec(spec: str) -> str:
    """``spec`` itself.

    Raises:
        OptionError: it is none of ``SPECS``, and no factory string either.
    """
    if spec in SPECS:
        return spec
    faiss = faiss_module.load()
    try:
        faiss.index_factory(64, spec, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        # Whether a string fits the vectors' dimension is known when there are some.
        if "could not parse" in str(error) or "not recognized" in str(error):
            raise OptionError(
                f"unknown index {spec!r}: expected one of {', '.join(SPECS)}, or a factory string of FAISS"
            ) from None
    return spec


def factory_of(spec: str, count: int, dimension: int) -> str:
    """FAISS's name for an approximate index of so many vectors.

    FastScan is product quantisation to 4 bits a part, scanned in registers (André, Kermarrec and
    Le Scouarnec 2015). It stands under an inverted file also where that has just one list, because FAISS
    can then be asked for some of the rows. A graph (Malkov and Yashunin 2018) is walked over the stored vectors.
    """
    if spec == GRAPH:
        return f"HNSW{LINKS}_SQfp16"
    if spec == FASTSCAN:
        return inverted(1, dimension)
    if spec == INVERTED_FASTSCAN:
        return inverted(lists_for(count), dimension)
    return spec


def inverted(lists: int, dimension: int) -> str:
    """FAISS's name for FastScan under so many lists."""
    return f"IVF{lists},PQ{dimension // 2 if dimension % 2 == 0 else dimension}x4fs"


def coded_bytes(factory: str, count: int, dimension: int) -> int:
    """Bytes in memory of a FastScan index: half a byte a part, 8 a row number, and the lists' centres."""
    parsed = re.fullmatch(r"IVF(\d+),PQ(\d+)x4fs", factory)
    lists, parts = (int(parsed[1]), int(parsed[2])) if parsed else (0, 2 * dimension)
    return -(-count * (parts + 16) // 2) + 4 * lists * dimension


def graph_bytes(count: int, dimension: int) -> int:
    """Bytes in memory of a graph: its links, and the vectors at half precision, which it reads all over the file."""
    links = 2 * LINKS + LINKS / (LINKS - 1)  # of all levels: one vector in so many is on the next
    return int(count * (4 * links + 12 + 2 * dimension))


def lists_for(count: int) -> int:
    """Lists of an inverted file of ``count`` vectors: twice the square root, so that each has some to learn from."""
    return max(1, min(int(2 * math.sqrt(count)), count // 64))


def build(
    spec: str, vectors: MatrixLike, *, seed: int = 0, device: str = "cpu", path: Path | None = None
) -> VectorIndex:
    """An index of ``vectors`` (n, dimension) float32 as ``spec`` says; ``auto``, of unmeasured, is flat.

    Args:
        spec: as ``check`` accepts.
        vectors: what is indexed.
        seed: of what an approximate index is trained on.
        device: ``"cuda"`` trains and adds on a GPU.
        path: where it is written, the vectors block by block, and then read, memory-mapped; in memory alone when None.

    Raises:
        OptionError: the spec is unknown or does not fit the vectors.
    """
    check_index_spec(spec)
    if spec == ExactIndex.kind:
        return ExactIndex.build(vectors, path)
    if spec in (AUTO, FlatIndex.kind) or len(vectors) < FEWEST:
        return FlatIndex.build(vectors, path)
    kind = spec if spec in APPROXIMATE else FACTORY
    factory = factory_of(spec, len(vectors), vectors.shape[1])
    options = {"efConstruction": LOOKED_AT} if kind == GRAPH else {}
    return RefinedIndex.build(kind, factory, vectors, seed=seed, device=device, path=path, options=options)


def load(
    kind: str, path: Path, *, device: str = "cpu", factory: str = "", effort: Effort | None = None
) -> VectorIndex:
    """Open the index of ``kind`` that was saved at ``path``.

    Args:
        kind: what the index calls itself.
        path: where it was saved.
        device: ``"cuda"`` searches on GPUs.
        factory: FAISS's name for it, for those that are approximate.
        effort: what a search spends.

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
