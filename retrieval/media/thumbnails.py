"""Thumbnails of media files: the image itself, a frame of a video, or the waveform of audio."""

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
"""Number of bars in a waveform."""

CONTENT_TYPES = {Modality.IMAGE: "image/jpeg", Modality.VIDEO: "image/jpeg", Modality.AUDIO: "image/svg+xml"}
"""Content type of the result of ``thumbnail_bytes``, by modality."""


def thumbnail_bytes(
    file: Path, modality: Modality, size: int, start: float | None = None, end: float | None = None
) -> bytes:
    """Draw a thumbnail of a file, or of a part of it.

    Args:
        file: an image, video or audio file.
        modality: how to show it; a video may be shown as audio by its sound track.
        size: longer side in pixels; ignored for a waveform.
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
    """Return an SVG of bars as high as the audio is loud, in a grey visible on light and dark; it has no text."""
    clip = load_audio(file)
    first = int((start or 0.0) * clip.rate)
    last = len(clip.samples) if end is None else int(end * clip.rate)
    samples = np.abs(clip.samples[first : max(last, first + 1)])
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
