"""Adapters: read a data set's own files and return rows as in a manifest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indexer.sources.readers.tables import Row
from retrieval.errors import SourceError
from retrieval.types import Matrix, Modality


@dataclass(frozen=True, slots=True)
class Extent:
    """A file inside an uncompressed archive: ``size`` bytes from ``offset``.

    Attributes:
        name: the archive's file name, ``/``, and the name within the archive.
        archive: path of the archive.
    """

    name: str
    archive: Path
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Vector:
    """Features that the data set provides; there is no file to encode.

    Attributes:
        row: (d,) float32.
        path: file name in the metadata, for hits to show; None for captions.
        text: the caption; None for other modalities.
    """

    row: Matrix
    path: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows that an adapter read.

    Attributes:
        folder: file names in the rows are relative to this folder.
        rows: rows as in a manifest; a cell may also be an ``Extent`` or a ``Vector`` instead of a file name.
        encoders: encoders that these rows need, by modality.
        align: alignment that these rows need.
        problems: names of files that could not be read completely, and why.
    """

    folder: Path
    rows: Sequence[Row]
    encoders: dict[Modality, str] = field(default_factory=dict)
    align: str | None = None
    problems: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Adapter:
    """A data set format.

    Attributes:
        read: reads the data set at the path after the colon.
        holdout: test part of the standard split, as an expression; None if the format has no splits.
        captions: number of captions per item in the standard evaluation, the first ones; None for all.
        description: one line for users.
    """

    read: Callable[[Path], Dataset]
    holdout: str | None
    captions: int | None
    description: str


def load_json(path: Path) -> Any:
    """Return the content of the JSON file ``path``.

    Raises:
        ValueError: it is not valid JSON.
        OSError: it cannot be read.
    """
    return json.loads(path.read_text(encoding="utf-8-sig"))


def first_existing(folder: Path, names: Iterable[str]) -> str:
    """Return the first name that is a file in ``folder``, since data sets are unpacked in several ways.

    If there is no such file, return the first name: the job then records it as missing.
    """
    candidates = list(names)
    return next((name for name in candidates if (folder / name).is_file()), candidates[0])


def check_exists(path: Path, expected: str) -> Path:
    """Return ``path`` if it exists.

    Raises:
        SourceError: there is no such file or folder.
    """
    if not path.exists():
        raise SourceError(f"the source {str(path)!r} does not exist: expected {expected}")
    return path


def group_captions(rows: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Group captions by id, in the order of first appearance."""
    groups: dict[str, list[str]] = {}
    for key, caption in rows:
        groups.setdefault(key, []).append(caption)
    return iter(groups.items())
