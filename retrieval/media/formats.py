"""File formats: content types for browsers, and the file extensions of each modality."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePath
from types import MappingProxyType

from retrieval.types import Modality

# Extensions of types that browsers play or show; any other file can only be saved. The table of the operating
# system is not used: it differs between machines and may call a media file a document.
_CONTENT_TYPES = MappingProxyType(
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


def content_type(path: PurePath) -> str:
    """Return the content type for a file's extension."""
    return _CONTENT_TYPES.get(path.suffix.lower(), "application/octet-stream")


# Pillow's format names and their extensions, the most common first. EPS and WMF are left out because
# Pillow draws them with other programs; PDF, HDF5, GRIB and BUFR because it cannot read them at all; and MPEG
# because it is a video.
IMAGE_FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "ICO": (".ico",),
    "CUR": (".cur",),
    "ICNS": (".icns",),
    "PCX": (".pcx",),
    "PSD": (".psd",),
    "QOI": (".qoi",),
    "SGI": (".sgi",),
    "TGA": (".tga",),
    "DDS": (".dds",),
    "XBM": (".xbm",),
    "XPM": (".xpm",),
}


ENDINGS: Mapping[Modality, frozenset[str]] = MappingProxyType(
    {
        Modality.TEXT: frozenset({".txt"}),
        Modality.IMAGE: frozenset(ending for endings in IMAGE_FORMATS.values() for ending in endings),
        Modality.AUDIO: frozenset(
            {
                *{".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus"},
                *{".rf64", ".snd", ".voc", ".w64", ".wav"},
                # The formats above are read by libsndfile, these by FFmpeg.
                *{".aac", ".ac3", ".amr", ".ape", ".m4a", ".mka", ".tta", ".wma", ".wv"},
            }
        ),
        Modality.VIDEO: frozenset(
            {
                *{".3g2", ".3gp", ".asf", ".avi", ".f4v", ".flv", ".m1v", ".m2ts", ".m2v", ".m4v", ".mkv"},
                *{".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".rm", ".rmvb", ".swf", ".vob"},
                # Not ".ts": in mixed folders it is as often TypeScript as a transport stream.
                *{".webm", ".wmv"},
            }
        ),
    }
)
"""File extensions of each modality, in lower case with the dot; no extension belongs to two modalities."""


_BY_ENDING = {ending: modality for modality, endings in ENDINGS.items() for ending in endings}


def modality_of(path: str | os.PathLike[str]) -> Modality | None:
    """Return the modality for a file's extension, ignoring case; None for any other file."""
    return _BY_ENDING.get(PurePath(path).suffix.lower())
