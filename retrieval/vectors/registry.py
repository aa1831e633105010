"""The one place that chooses and opens vector indexes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retrieval.errors import DamagedIndexError, OptionError
from retrieval.types import Matrix
from retrieval.vectors.base import VectorIndex
from retrieval.vectors.exact import ExactIndex
from retrieval.vectors.flat import FlatIndex

KINDS: Mapping[str, Any] = {FlatIndex.kind: FlatIndex, ExactIndex.kind: ExactIndex}
SPECS = ("auto", *KINDS)
"""What ``--index`` accepts."""


def check(spec: str) -> str:
    """``spec`` itself.

    Raises:
        OptionError: it is none of ``SPECS``.
    """
    if spec not in SPECS:
        raise OptionError(f"unknown index {spec!r}: expected one of {', '.join(SPECS)}")
    return spec


def build(spec: str, vectors: Matrix) -> VectorIndex:
    """An index of ``vectors`` (n, dimension) float32, chosen by ``spec``."""
    kind = FlatIndex.kind if check(spec) == "auto" else spec
    index: VectorIndex = KINDS[kind].build(vectors)
    return index


def load(kind: str, path: Path, *, device: str = "cpu") -> VectorIndex:
    """Open the index of ``kind`` that was saved at ``path``.

    Raises:
        DamagedIndexError: the kind is unknown or the file cannot be read.
    """
    if kind not in KINDS:
        raise DamagedIndexError(
            f"{path} is an index of unknown kind {kind!r}: upgrade xmodal or rebuild the index"
        )
    index: VectorIndex = KINDS[kind].load(path, device=device)
    return index
