"""Previews of assets for self-contained pages."""

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
"""Length of a picture's longer side, in pixels."""

MAX_EMBEDDED_BYTES = {Modality.AUDIO: 1_000_000, Modality.VIDEO: 4_000_000}
"""Largest sound or video file that is embedded in a page."""


@dataclass(frozen=True, slots=True)
class Preview:
    """Preview of an asset.

    Attributes:
        id: the item's id.
        modality: of the asset, or "item".
        text: a caption; None for a file.
        path: of the file, relative to its source.
        picture: a small picture as a ``data:`` URL; None if there is none.
        played: the sound or video as a ``data:`` URL; None if there is none or it is too large.
        problem: why there is no preview.
    """

    id: str
    modality: Target
    text: str | None
    path: str | None
    picture: str | None = None
    played: str | None = None
    problem: str | None = None


def previews(catalog: Catalog, sources: Sequence[str], assets: Iterable[int]) -> list[Preview]:
    """Return previews of assets, in the order of ``assets``.

    Args:
        catalog: of the index that contains them.
        sources: the indexed sources, as listed in the manifest.
        assets: asset numbers.
    """
    numbers = list(assets)
    records = catalog.records(numbers)
    files = AssetFiles(sources, confined=False)
    with catalog.session() as session:
        statement = select(Asset.id, Asset.source).where(Asset.id.in_(numbers))
        source_of = {number: source for number, source in session.execute(statement)}  # noqa: C416
    shown = []
    for number in numbers:
        record = records[number]
        picture = played = problem = None
        if record.text is None:
            try:
                file = files.file(source_of[number], record.path)
                picture = data_url(
                    CONTENT_TYPES[record.modality],
                    thumbnail_bytes(file, record.modality, SIZE, record.start, record.end),
                )
                played = _media_url(file, record.modality)
            except MissingFileError as error:
                problem = str(error)
            except MediaError as error:
                problem = str(error).removeprefix(f"{file}: ")
        shown.append(
            Preview(record.item, record.modality, record.text, record.path, picture, played, problem)
        )
    return shown


def _media_url(file: Path, modality: Modality) -> str | None:
    if file.stat().st_size > MAX_EMBEDDED_BYTES.get(modality, 0):
        return None
    return data_url(content_type(file), file.read_bytes())


def data_url(kind: str, data: bytes) -> str:
    """Return a file's bytes as a ``data:`` URL."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
