"""From an asset's number to its file, and what a browser should take it for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from retrieval.errors import MissingFileError, UnknownItemError
from retrieval.server.opened import Opened
from retrieval.types import Modality

# Endings whose kinds browsers play or show; what else there is they may only save. Not from the machine's own
# table, which differs from machine to machine and may call a file a document.
_KINDS = MappingProxyType(
    {
        **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "image/jpeg"),
        **dict.fromkeys((".png", ".apng"), "image/png"),
        **dict.fromkeys((".tif", ".tiff"), "image/tiff"),
        ".webp": "image/webp", ".gif": "image/gif", ".bmp": "image/bmp", ".avif": "image/avif",
        ".jp2": "image/jp2", ".ico": "image/x-icon",
        **dict.fromkeys((".ogg", ".oga", ".opus"), "audio/ogg"),
        **dict.fromkeys((".aif", ".aiff", ".aifc"), "audio/aiff"),
        ".mp3": "audio/mpeg", ".wav": "audio/wav", ".flac": "audio/flac", ".m4a": "audio/mp4",
        ".aac": "audio/aac", ".mka": "audio/x-matroska", ".caf": "audio/x-caf",
        **dict.fromkeys((".mp4", ".m4v"), "video/mp4"),
        **dict.fromkeys((".mpg", ".mpeg", ".vob"), "video/mpeg"),
        ".webm": "video/webm", ".ogv": "video/ogg", ".mov": "video/quicktime", ".mkv": "video/x-matroska",
        ".avi": "video/x-msvideo", ".3gp": "video/3gpp", ".3g2": "video/3gpp2",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Located:
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
        return _KINDS.get(self.file.suffix.lower(), "application/octet-stream")


def locate(opened: Opened, asset: int) -> Located:
    """The file of the asset with this number.

    Raises:
        UnknownItemError: there is no such asset.
        MissingFileError: it has no file, or one that is gone or must not be served.
    """
    found = opened.engine.catalog.asset(asset)
    if found is None:
        raise UnknownItemError(f"the index has no asset {asset}: numbers are as hits show them")
    if found.modality == Modality.TEXT:
        raise MissingFileError("a caption has no file: it comes with the hit")
    file = opened.sources.file(found.source, found.path)
    try:
        status = file.stat()
    except OSError as error:
        raise MissingFileError(f"the file {found.path!r} cannot be read: {error.strerror}") from error
    return Located(file, Modality(found.modality), found.start, found.end, status)
