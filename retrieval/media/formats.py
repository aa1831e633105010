"""What a browser should take a file for."""

from __future__ import annotations

from pathlib import PurePath
from types import MappingProxyType

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


def content_type(path: PurePath) -> str:
    """The content type that a file's ending stands for."""
    return _KINDS.get(path.suffix.lower(), "application/octet-stream")
