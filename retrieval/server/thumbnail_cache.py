"""Thumbnails as they are served: drawn once, kept, and known by a tag."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from retrieval.errors import MediaError, MissingFileError
from retrieval.media.thumbnails import CONTENT_TYPES, thumbnail_bytes
from retrieval.server.asset_lookup import AssetLocation
from retrieval.server.disk_cache import DiskCache
from retrieval.types import Modality

SIZES = range(16, 1025)
"""Pixels of the longer side that may be asked for."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small picture.

    Attributes:
        data: of the file.
        kind: its content type.
        tag: an ETag: another file, moment or size has another.
    """

    data: bytes
    kind: str
    tag: str


def thumbnail(cache: DiskCache, located: AssetLocation, size: int) -> Thumbnail:
    """That of an asset, drawn if it was not before.

    Raises:
        MissingFileError: its file cannot be decoded.
    """
    status = located.status
    moment = "" if located.modality is Modality.IMAGE else f"{located.start}-{located.end}"
    key = f"{located.modality} {located.file} {status.st_size} {status.st_mtime_ns} {moment} {size}"
    data = cache.get(key)
    if data is None:
        try:
            data = thumbnail_bytes(located.file, located.modality, size, located.start, located.end)
        except MediaError as error:
            reason = str(error).removeprefix(f"{located.file}: ")
            raise MissingFileError(f"there is no picture of {located.file.name!r}: {reason}") from error
        cache.put(key, data)
    tag = hashlib.sha256(key.encode()).hexdigest()[:24]
    return Thumbnail(data, CONTENT_TYPES[located.modality], f'"{tag}"')
