"""Thumbnails for the server: drawn once, cached on disk, and identified by an ETag."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from retrieval.errors import MediaError, MissingFileError
from retrieval.media.thumbnails import CONTENT_TYPES, thumbnail_bytes
from retrieval.server.asset_lookup import AssetLocation
from retrieval.server.disk_cache import DiskCache
from retrieval.types import Modality

SIZES = range(16, 1025)
"""Allowed sizes: pixels of the longer side."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A thumbnail.

    Attributes:
        data: content of the image file.
        content_type: its content type.
        etag: changes with the file, the moment and the size.
    """

    data: bytes
    content_type: str
    etag: str


def thumbnail(cache: DiskCache, location: AssetLocation, size: int) -> Thumbnail:
    """Return the thumbnail of an asset, from the cache or drawn now.

    Raises:
        MissingFileError: the asset's file cannot be decoded.
    """
    status = location.status
    moment = "" if location.modality is Modality.IMAGE else f"{location.start}-{location.end}"
    key = f"{location.modality} {location.file} {status.st_size} {status.st_mtime_ns} {moment} {size}"
    data = cache.get(key)
    if data is None:
        try:
            data = thumbnail_bytes(location.file, location.modality, size, location.start, location.end)
        except MediaError as error:
            reason = str(error).removeprefix(f"{location.file}: ")
            raise MissingFileError(f"there is no thumbnail of {location.file.name!r}: {reason}") from error
        cache.put(key, data)
    digest = hashlib.sha256(key.encode()).hexdigest()[:24]
    return Thumbnail(data, CONTENT_TYPES[location.modality], f'"{digest}"')
