"""The query layer: open an index, search it with any modality, evaluate it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrieval.errors import XmodalError
from retrieval.types import Hit, Modality, Query

if TYPE_CHECKING:
    from retrieval.client import Client
    from retrieval.engine import SearchEngine
    from retrieval.engine import open_index as open  # noqa: A004 - the public face's name
    from retrieval.evaluation import evaluate
    from retrieval.several import Several
    from retrieval.verification import verify

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

_LATER = {
    "Client": ("retrieval.client", "Client"),
    "SearchEngine": ("retrieval.engine", "SearchEngine"),
    "Several": ("retrieval.several", "Several"),
    "open": ("retrieval.engine", "open_index"),
    "verify": ("retrieval.verification", "verify"),
    "evaluate": ("retrieval.evaluation", "evaluate"),
}


def __getattr__(name: str) -> Any:
    """Import what needs other packages when it is first asked for."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _LATER[name]
    return getattr(import_module(module), attribute)
