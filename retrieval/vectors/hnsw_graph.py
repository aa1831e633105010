"""HNSW graphs that use the stored vectors, and so keep no copy of their own."""

from __future__ import annotations

from typing import Any

from retrieval.vectors import faiss_module
from retrieval.vectors.search_effort import is_graph


def uses_stored_vectors(index: Any) -> bool:
    """Return whether the FAISS ``index`` is a graph over whole vectors at half precision, as they are stored."""
    if not is_graph(index):
        return False
    faiss = faiss_module.load()
    storage = index.storage and faiss.downcast_index(index.storage)
    halves = faiss.ScalarQuantizer.QT_fp16
    return storage is None or (isinstance(storage, faiss.IndexScalarQuantizer) and storage.sq.qtype == halves)


def share_vectors(index: Any, stored: Any) -> None:
    """Make a graph use ``stored``, a FAISS index of the same vectors that must outlive it; ignore other indexes."""
    if not uses_stored_vectors(index):
        return
    copy = index.storage
    if copy is not None and index.own_fields:
        copy.this.own(True)  # so that Python frees it when it is no longer referenced
    index.own_fields = False
    index.storage = stored


def write_flags(index: Any) -> int:
    """Return the FAISS flags for writing ``index``: of a graph that uses the stored vectors, only the links."""
    return faiss_module.load().IO_FLAG_SKIP_STORAGE if uses_stored_vectors(index) else 0
