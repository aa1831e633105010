"""Assets as a page shows them that needs no other file."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from retrieval.content_types import content_type
from retrieval.engine import SearchEngine
from retrieval.errors import MediaError, MissingFileError
from retrieval.schema import Asset
from retrieval.sources import Sources
from retrieval.thumbnails import KINDS, drawn
from retrieval.types import Modality, Target

SIZE = 256
"""Pixels of a picture's longer side."""

PLAYED = {Modality.AUDIO: 1_000_000, Modality.VIDEO: 4_000_000}
"""Bytes up to which a sound or video goes into the page."""


@dataclass(frozen=True, slots=True)
class Medium:
    """An asset as a page shows it.

    Attributes:
        id: its item's.
        modality: of the asset, or "item".
        text: a caption; None for a file.
        path: of the file, in its source.
        picture: a small one as a ``data:`` address; None where there is none.
        played: the sound or video as a ``data:`` address; None where it is too large.
        problem: why there is nothing to see.
    """

    id: str
    modality: Target
    text: str | None
    path: str | None
    picture: str | None = None
    played: str | None = None
    problem: str | None = None


def media(engine: SearchEngine, assets: Iterable[int]) -> list[Medium]:
    """The assets with these numbers, in their order, their files taken from where they were indexed."""
    numbers = list(assets)
    records = engine.catalog.records(numbers)
    places = Sources(engine.manifest.sources, confined=False)
    with engine.catalog.session() as session:
        statement = select(Asset.id, Asset.source).where(Asset.id.in_(numbers))
        sources = {number: source for number, source in session.execute(statement)}  # noqa: C416
    shown = []
    for number in numbers:
        record = records[number]
        picture = played = problem = None
        if record.text is None:
            try:
                file = places.file(sources[number], record.path)
                picture = address(
                    KINDS[record.modality], drawn(file, record.modality, SIZE, record.start, record.end)
                )
                played = _played(file, record.modality)
            except MissingFileError as error:
                problem = str(error)
            except MediaError as error:
                problem = str(error).removeprefix(f"{file}: ")
        shown.append(Medium(record.item, record.modality, record.text, record.path, picture, played, problem))
    return shown


def _played(file: Path, modality: Modality) -> str | None:
    if file.stat().st_size > PLAYED.get(modality, 0):
        return None
    return address(content_type(file), file.read_bytes())


def address(kind: str, data: bytes) -> str:
    """The bytes of a file as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
