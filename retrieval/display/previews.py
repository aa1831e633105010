"""Assets as a page shows them that needs no other file."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from retrieval.errors import MediaError, MissingFileError
from retrieval.media.formats import content_type
from retrieval.media.thumbnails import CONTENT_TYPES, thumbnail_bytes
from retrieval.storage.asset_files import AssetFiles
from retrieval.storage.catalog import Catalog
from retrieval.storage.schema import Asset
from retrieval.types import Modality, Target

SIZE = 256
"""Pixels of a picture's longer side."""

PLAYED = {Modality.AUDIO: 1_000_000, Modality.VIDEO: 4_000_000}
"""Bytes up to which a sound or video goes into the page."""


@dataclass(frozen=True, slots=True)
class Preview:
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


def previews(catalog: Catalog, sources: Sequence[str], assets: Iterable[int]) -> list[Preview]:
    """Return previews of assets, in the order of their numbers.

    Args:
        catalog: of the index that found them.
        sources: the sources that were indexed, as the manifest lists them.
        assets: asset numbers.
    """
    numbers = list(assets)
    records = catalog.records(numbers)
    places = AssetFiles(sources, confined=False)
    with catalog.session() as session:
        statement = select(Asset.id, Asset.source).where(Asset.id.in_(numbers))
        source_of = {number: source for number, source in session.execute(statement)}  # noqa: C416
    shown = []
    for number in numbers:
        record = records[number]
        picture = played = problem = None
        if record.text is None:
            try:
                file = places.file(source_of[number], record.path)
                picture = data_url(
                    CONTENT_TYPES[record.modality],
                    thumbnail_bytes(file, record.modality, SIZE, record.start, record.end),
                )
                played = _played(file, record.modality)
            except MissingFileError as error:
                problem = str(error)
            except MediaError as error:
                problem = str(error).removeprefix(f"{file}: ")
        shown.append(
            Preview(record.item, record.modality, record.text, record.path, picture, played, problem)
        )
    return shown


def _played(file: Path, modality: Modality) -> str | None:
    if file.stat().st_size > PLAYED.get(modality, 0):
        return None
    return data_url(content_type(file), file.read_bytes())


def data_url(kind: str, data: bytes) -> str:
    """The bytes of a file as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
