"""From an asset's number to its file, and what a browser should take it for."""

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
    """An asset's file.

    Attributes:
        file: where it is, links followed.
        modality: of the asset: the sound of a video has the video's file.
        start: where the asset begins in it, in seconds; None for the whole.
        end: where it ends.
        status: what the file system says of it.
    """

    file: Path
    modality: Modality
    start: float | None
    end: float | None
    status: os.stat_result

    @property
    def kind(self) -> str:
        """Its content type."""
        return content_type(self.file)


def locate(opened: OpenGeneration, asset: int) -> AssetLocation:
    """The file of the asset with this number.

    Raises:
        UnknownItemError: there is no such asset.
        MissingFileError: it has no file, or one that is gone or must not be served.
    """
    found = opened.engine.index.catalog.asset(asset)
    if found is None:
        raise UnknownItemError(f"the index has no asset {asset}: numbers are as hits show them")
    if found.modality == Modality.TEXT:
        raise MissingFileError("a caption has no file: it comes with the hit")
    file = opened.sources.file(found.source, found.path)
    try:
        status = file.stat()
    except OSError as error:
        raise MissingFileError(f"the file {found.path!r} cannot be read: {error.strerror}") from error
    return AssetLocation(file, Modality(found.modality), found.start, found.end, status)
