"""The query layer: open an index, search it by any modality, evaluate it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrieval.errors import XmodalError
from retrieval.types import Hit, Modality, Query

if TYPE_CHECKING:
    from retrieval.evaluation.evaluate import evaluate
    from retrieval.remote.client import Client
    from retrieval.search.engine import SearchEngine
    from retrieval.search.engine import open_index as open  # noqa: A004 - the public face's name
    from retrieval.search.federated import Several
    from retrieval.storage.verification import verify

__all__ = [
    "Client",
    "Hit",
    "Modality",
    "Query",
    "SearchEngine",
    "Several",
    "XmodalError",
    "evaluate",
    "open",
    "verify",
]

_LAZY_IMPORTS = {
    "Client": ("retrieval.remote.client", "Client"),
    "SearchEngine": ("retrieval.search.engine", "SearchEngine"),
    "Several": ("retrieval.search.federated", "Several"),
    "open": ("retrieval.search.engine", "open_index"),
    "verify": ("retrieval.storage.verification", "verify"),
    "evaluate": ("retrieval.evaluation.evaluate", "evaluate"),
}


def __getattr__(name: str) -> Any:
    """Import a name at its first use, because its module needs other packages."""
    if name not in _LAZY_IMPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _LAZY_IMPORTS[name]
    return getattr(import_module(module), attribute)
