"""Opening an index by its manifest entry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retrieval.vectors import registry
from retrieval.vectors.base import VectorIndex
from retrieval.vectors.incremental import IncrementalIndex
from retrieval.vectors.search_effort import Effort


def load(entry: Mapping[str, Any], path: Path, *, device: str = "cpu") -> VectorIndex:
    """Open the index at ``path``.

    Args:
        entry: its manifest entry, as made by ``selection.manifest_entry``.
        path: its file; further files are beside it.
        device: ``"cuda"`` searches on GPUs.

    Raises:
        DamagedIndexError: a file is missing or cannot be read.
        DependencyError, DeviceError: there is no GPU.
    """
    index = registry.load(
        entry["kind"],
        path,
        device=device,
        factory=entry.get("factory", ""),
        effort=Effort.from_entry(entry),
    )
    return IncrementalIndex.load(index, path) if "updated" in entry else index
