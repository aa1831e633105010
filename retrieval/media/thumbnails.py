"""Small pictures of files: of a picture itself, of a video a frame, of a sound its waveform."""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from retrieval.media.audio import load_audio
from retrieval.media.images import load_image
from retrieval.media.video import load_frame
from retrieval.types import Modality

BARS = 120
"""Of a waveform."""

CONTENT_TYPES = {Modality.IMAGE: "image/jpeg", Modality.VIDEO: "image/jpeg", Modality.AUDIO: "image/svg+xml"}
"""Content types of what ``drawn`` gives, by what it is of."""


def thumbnail_bytes(
    file: Path, modality: Modality, size: int, start: float | None = None, end: float | None = None
) -> bytes:
    """A small picture of a file, or of a part of it.

    Args:
        file: a picture, video or sound.
        modality: which of them it is looked at as: a video may be looked at as its sound.
        size: pixels of the longer side; a waveform has none.
        start: where the part begins, in seconds.
        end: where it ends.

    Raises:
        MediaError: the file cannot be decoded.
    """
    if modality is Modality.AUDIO:
        return _waveform(file, start, end).encode()
    whole = (
        load_image(file, at_least=size)
        if modality is Modality.IMAGE
        else load_frame(file, side=size, since=start or 0.0)
    )
    whole.thumbnail((size, size), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    whole.convert("RGB").save(buffer, "JPEG", quality=82, optimize=True)
    return buffer.getvalue()


def _waveform(file: Path, start: float | None, end: float | None) -> str:
    """Bars as high as the sound is loud, in a grey that shows on light and dark; there is no text in it."""
    heard = load_audio(file)
    first = int((start or 0.0) * heard.rate)
    last = len(heard.samples) if end is None else int(end * heard.rate)
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
