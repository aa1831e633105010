"""What a browser should take a file for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePath
from types import MappingProxyType

from retrieval.types import Modality

# Endings whose kinds browsers play or show; what else there is they may only save. Not from the machine's own
# table, which differs from machine to machine and may call a file a document.
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
    """The content type that a file's ending stands for."""
    return _CONTENT_TYPES.get(path.suffix.lower(), "application/octet-stream")


# Pillow's format names and the endings they go by, the commonest first. EPS and WMF are left out because
# Pillow has other programs draw them, PDF, HDF5, GRIB and BUFR because it cannot read them at all, and MPEG
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
                # Those above by libsndfile, these by FFmpeg.
                *{".aac", ".ac3", ".amr", ".ape", ".m4a", ".mka", ".tta", ".wma", ".wv"},
            }
        ),
        Modality.VIDEO: frozenset(
            {
                *{".3g2", ".3gp", ".asf", ".avi", ".f4v", ".flv", ".m1v", ".m2ts", ".m2v", ".m4v", ".mkv"},
                *{".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".rm", ".rmvb", ".swf", ".vob"},
                # Not ".ts": among mixed files it is as often TypeScript as a transport stream.
                *{".webm", ".wmv"},
            }
        ),
    }
)
"""The lower-case file endings, dot included, of each modality; no ending is in two."""


_BY_ENDING = {ending: modality for modality, endings in ENDINGS.items() for ending in endings}


def modality_of(path: str | os.PathLike[str]) -> Modality | None:
    """The modality that a file's ending stands for, in whatever case; None for any other file."""
    return _BY_ENDING.get(PurePath(path).suffix.lower())
