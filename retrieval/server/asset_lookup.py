"""Find the file of an asset, and its content type."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from retrieval.errors import MissingFileError, UnknownItemError
from retrieval.media.formats import content_type
from retrieval.server.open_generation import OpenGeneration
from retrieval.types import Modality


@dataclass(frozen=True, slots=True)
class AssetLocation:
    """Where an asset's file is.

    Attributes:
        file: its path, with links resolved.
        modality: of the asset; the sound of a video has the video's file.
        start: where the asset begins in the file, in seconds; None for the whole file.
        end: where it ends, in seconds.
        status: result of ``stat``.
    """

    file: Path
    modality: Modality
    start: float | None
    end: float | None
    status: os.stat_result

    @property
    def content_type(self) -> str:
        """Content type of the file."""
        return content_type(self.file)


def locate(opened: OpenGeneration, asset: int) -> AssetLocation:
    """Return the location of the asset with this number.

    Raises:
        UnknownItemError: there is no such asset.
        MissingFileError: the asset has no file, or the file is missing or must not be served.
    """
    record = opened.engine.index.catalog.asset(asset)
    if record is None:
        raise UnknownItemError(f"the index has no asset {asset}: use a number from a hit's 'asset'")
    if record.modality == Modality.TEXT:
        raise MissingFileError("a caption has no file: its text is in the hit")
    file = opened.sources.file(record.source, record.path)
    try:
        status = file.stat()
    except OSError as error:
        raise MissingFileError(f"the file {record.path!r} cannot be read: {error.strerror}") from error
    return AssetLocation(file, Modality(record.modality), record.start, record.end, status)
