"""Small generated videos in which every frame differs from the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from io import BytesIO
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.pictures import noise

Pixels = NDArray[np.uint8]


def grey(level: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Return a frame of one grey level."""
    return Image.new("RGB", size, (level,) * 3)


def steps(count: int, size: tuple[int, int] = (64, 48)) -> list[Image.Image]:
    """Return frames that get lighter, none of them almost black."""
    return [grey(60 + 180 * number // count, size) for number in range(count)]


def video(
    frames: Iterable[Image.Image],
    *,
    rate: int = 10,
    codec: str = "libx264",
    form: str = "mp4",
    stamps: Sequence[int] | None = None,
    keys: int = 12,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    rotation: int = 0,
    aspect: Fraction | None = None,
) -> bytes:
    """Return the bytes of a video file; ``stamps`` are in frames, ``keys`` is the distance of keyframes."""
    buffer = BytesIO()
    with av.open(buffer, "w", format=form, options=container_options or {}) as container:
        stream: Any = None
        for number, image in enumerate(frames):
            if stream is None:
                stream = container.add_stream(codec, rate=rate, options=options or {})
                stream.width, stream.height = image.size
                stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
                stream.codec_context.gop_size = keys
                stream.codec_context.thread_count = 1
                if aspect:
                    stream.codec_context.sample_aspect_ratio = aspect
                if rotation:
                    stream.set_display_rotation(rotation)
            frame = av.VideoFrame.from_image(image)
            frame.pts = number if stamps is None else stamps[number]
            frame.time_base = Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def sound(form: str = "mp4", codec: str = "aac") -> bytes:
    """Return the bytes of a file with a second of sound and no video."""
    buffer = BytesIO()
    with av.open(buffer, "w", format=form) as container:
        stream = container.add_stream(codec, rate=44100)
        samples = np.sin(np.arange(44100) / 20).astype(np.float32)[None]
        for at in range(0, 44100, 1024):
            frame = av.AudioFrame.from_ndarray(samples[:, at : at + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, at
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def decode_all(data: bytes) -> dict[float, Pixels]:
    """Return every frame of a video by its time in seconds, decoded by plain PyAV: the reference."""
    with av.open(BytesIO(data)) as container:
        decoded = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    first = decoded[0][0]
    return {round(time - first, 3): pixels for time, pixels in decoded}


def clips() -> list[bytes]:
    """Return seven different short videos."""
    sizes = [(64, 48), (48, 64), (112, 112), (16, 16), (320, 180), (50, 30), (98, 34)]
    return [
        video([noise(*size, seed=10 * seed + part) for part in range(3)]) for seed, size in enumerate(sizes)
    ]
