"""What an adapter is: a data set's own files in, rows as a manifest has them out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indexer.sources.tables import Row
from retrieval.errors import SourceError
from retrieval.types import Matrix, Modality


@dataclass(frozen=True, slots=True)
class Extent:
    """A file inside an archive that is not compressed: ``size`` bytes from ``offset``.

    Attributes:
        name: what it is called: the archive's file name, ``/``, and its name in there.
        archive: the file that holds it.
    """

    name: str
    archive: Path
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Vector:
    """A feature row that somebody made: no file stands behind it.

    Attributes:
        row: (d,) float32.
        path: what the metadata call its file, for hits to show; None for captions.
        text: the caption, for the modality text.
    """

    row: Matrix
    path: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """What an adapter makes of its files.

    Attributes:
        folder: what the rows' file names are relative to.
        rows: as a manifest has them; a cell may be an ``Extent`` instead of a file name, or a ``Vector``.
        encoders: by modality, the encoder that these rows need.
        align: the alignment that these rows need.
        problems: names of files that could not be read to their end, and why.
    """

    folder: Path
    rows: Sequence[Row]
    encoders: dict[Modality, str] = field(default_factory=dict)
    align: str | None = None
    problems: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Adapter:
    """One format.

    Attributes:
        read: makes a data set of the path that follows the colon.
        holdout: the standard split's test part, as an expression; None where the format has no splits.
        captions: of each item the standard evaluation takes the first so many; None for all.
        description: one line for people.
    """

    read: Callable[[Path], Dataset]
    holdout: str | None
    captions: int | None
    description: str


def load_json(path: Path) -> Any:
    """What the JSON file ``path`` holds.

    Raises:
        ValueError: it does not parse.
        OSError: it cannot be read.
    """
    return json.loads(path.read_text(encoding="utf-8-sig"))


def first_there(folder: Path, names: Iterable[str]) -> str:
    """The first of the names that is a file in ``folder``, as data sets are unpacked in several ways.

    The first name of all where none is: the job then records it as missing.
    """
    candidates = list(names)
    return next((name for name in candidates if (folder / name).is_file()), candidates[0])


def need(path: Path, what: str) -> Path:
    """``path`` itself.

    Raises:
        SourceError: there is no such file or folder.
    """
    if not path.exists():
        raise SourceError(f"the source {str(path)!r} does not exist: expected {what}")
    return path


def grouped(rows: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Captions by id, in the order of first appearance."""
    found: dict[str, list[str]] = {}
    for key, caption in rows:
        found.setdefault(key, []).append(caption)
    return iter(found.items())
