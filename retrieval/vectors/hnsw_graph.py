"""Graphs that walk over the stored vectors themselves, and so keep no copy of their own."""

from __future__ import annotations

from typing import Any

from retrieval.vectors import faiss_module
from retrieval.vectors.search_effort import is_graph


def walks_stored(index: Any) -> bool:
    """Whether ``index`` of FAISS is a graph over vectors as they are stored: whole, at half precision."""
    if not is_graph(index):
        return False
    faiss = faiss_module.load()
    held = index.storage and faiss.downcast_index(index.storage)
    halves = faiss.ScalarQuantizer.QT_fp16
    return held is None or (isinstance(held, faiss.IndexScalarQuantizer) and held.sq.qtype == halves)


def share(index: Any, stored: Any) -> None:
    """Let such a graph walk over ``stored`` of FAISS, the same vectors, which has to outlive it; others stay."""
    if not walks_stored(index):
        return
    own = index.storage
    if own is not None and index.own_fields:
        own.this.own(True)  # and so it goes when nothing names it any more
    index.own_fields = False
    index.storage = stored


def flags(index: Any) -> int:
    """What FAISS is told when it writes ``index``: of a graph that walks over stored vectors, the links alone."""
    return faiss_module.load().IO_FLAG_SKIP_STORAGE if walks_stored(index) else 0
