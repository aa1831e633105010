"""Small pictures of assets: of a picture itself, of a video the frame at its moment, of a sound its waveform."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise

import numpy as np
from PIL import Image

from retrieval.audio import sound
from retrieval.errors import MediaError, MissingFileError
from retrieval.film import still
from retrieval.media import picture
from retrieval.server.cache import Cache
from retrieval.server.located import Located
from retrieval.types import Modality

SIZES = range(16, 1025)
"""Pixels of the longer side that may be asked for."""

BARS = 120
"""Of a waveform."""


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


def thumbnail(cache: Cache, located: Located, size: int) -> Thumbnail:
    """That of an asset, drawn if it was not before.

    Raises:
        MissingFileError: its file cannot be decoded.
    """
    status = located.status
    moment = "" if located.modality is Modality.IMAGE else f"{located.start}-{located.end}"
    key = f"{located.modality} {located.file} {status.st_size} {status.st_mtime_ns} {moment} {size}"
    is_drawing = located.modality is Modality.AUDIO
    data = cache.get(key)
    if data is None:
        try:
            data = _waveform(located).encode() if is_drawing else _scaled(located, size)
        except MediaError as error:
            reason = str(error).removeprefix(f"{located.file}: ")
            raise MissingFileError(f"there is no picture of {located.file.name!r}: {reason}") from error
        cache.put(key, data)
    tag = f'"{hashlib.sha256(key.encode()).hexdigest()[:24]}"'
    return Thumbnail(data, "image/svg+xml" if is_drawing else "image/jpeg", tag)


def _scaled(located: Located, size: int) -> bytes:
    if located.modality is Modality.IMAGE:
        whole = picture(located.file, at_least=size)
    else:
        whole = still(located.file, side=size, since=located.start or 0.0)
    whole.thumbnail((size, size), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    whole.convert("RGB").save(buffer, "JPEG", quality=82, optimize=True)
    return buffer.getvalue()


def _waveform(located: Located) -> str:
    """Bars as high as the sound is loud, in a grey that shows on light and dark; it has no text in it."""
    heard = sound(located.file)
    first = int((located.start or 0.0) * heard.rate)
    last = len(heard.samples) if located.end is None else int(located.end * heard.rate)
    samples = np.abs(heard.samples[first : max(last, first + 1)])
    edges = np.linspace(0, len(samples), BARS + 1).astype(int)
    loud = np.array([samples[low : max(high, low + 1)].max(initial=0) for low, high in pairwise(edges)])
    heights = np.maximum(2, 96 * loud / max(float(loud.max(initial=0)), 1e-6))
    bars = "".join(
        f"M{4 * at + 2} {50 - height / 2:.1f}v{height:.1f}" for at, height in enumerate(heights.tolist())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {4 * BARS} 100" preserveAspectRatio="none">'
        f'<path d="{bars}" stroke="#7d8894" stroke-width="2.4" stroke-linecap="round"/></svg>'
    )
