"""The indexing job: from files on disk to a published index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indexer.index_repair import repair
    from indexer.job import build, realign

__all__ = ["build", "realign", "repair"]

_HOMES = {"build": "indexer.job", "realign": "indexer.job", "repair": "indexer.index_repair"}


def __getattr__(name: str) -> Any:
    """Import the job on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
