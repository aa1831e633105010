"""Generated sounds, and audio files of them."""

from __future__ import annotations

from io import BytesIO

import av
import numpy as np
import soundfile
from numpy.typing import NDArray


def melody(seconds: float, rate: int = 16000, seed: int = 0) -> NDArray[np.float32]:
    """Return tones that change four times per second, over a little noise."""
    random = np.random.default_rng(seed)
    times = np.arange(max(1, round(seconds * rate))) / rate
    pitches = random.uniform(150, 0.4 * rate, int(4 * seconds) + 1)
    phase = np.cumsum(pitches[(4 * times).astype(int)]) / rate
    noise = random.standard_normal(len(times))
    return (0.5 * np.sin(2 * np.pi * phase) + 0.01 * noise).astype(np.float32)


def wav(
    samples: NDArray[np.float32], rate: int, *, form: str = "WAV", subtype: str | None = "FLOAT"
) -> bytes:
    """Return the bytes of a file written by libsndfile; samples are (n,) or (n, channels)."""
    file = BytesIO()
    soundfile.write(file, samples, rate, subtype=subtype, format=form)
    return file.getvalue()


def coded(samples: NDArray[np.float32], rate: int, *, form: str, codec: str, pictures: bool = False) -> bytes:
    """Return the bytes of a file written by FFmpeg, with some black video frames if ``pictures``."""
    file = BytesIO()
    with av.open(file, "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        if pictures:
            film = container.add_stream("mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p")
            for _ in range(5):
                container.mux(film.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
            container.mux(film.encode())
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(stream.format, "mono", rate, stream.frame_size or None)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode())
    return file.getvalue()
