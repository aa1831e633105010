"""Sounds to the statistics of their mel-frequency cepstra, in the order in which they are audible.

Nothing is learned: the standard parts of ``retrieval.media.acoustics`` in the standard order. A clip longer than a
window has a row for the whole and one for each window of a fixed tiling, all made in the same way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrieval.encoders.base import WHOLE, ClassHead, EncoderSpec, PartLayout, Span
from retrieval.media import acoustics
from retrieval.media.acoustics import Frames
from retrieval.media.audio import AudioClip, load_audio
from retrieval.types import Matrix, Modality

RATE = 16_000
"""Samples a second that everything is resampled to."""

FRAMES = 100
"""Frames a second."""

WINDOW, HOP = 10, 5
"""Seconds of a window of the tiling, and from the start of one to the start of the next."""

_BANDS, _LOW = 64, 50.0  # mel bands, from so many hertz to half the rate
_CEPSTRA = 20
_DYNAMIC = 60.0  # dB below the loudest band of a clip at which hearing ends
_QUIET = 35.0  # dB below the loudest frame: quieter ones at both ends are left out
_SEGMENTS, _OVERLAP = 6, 1.6
# Within an utterance the mean tells the microphone, but also what is said: half of it goes.
_MEAN_KEPT = 0.5
# Slopes and deviations are small numbers that say as much as the large ones do.
_SLOPES, _DEVIATIONS = 4.0, 2.0


@dataclass(frozen=True, eq=False)
class AudioFeatures:
    """What is known of one clip.

    Attributes:
        rows: (n, dimension) float32, the first of the whole.
        spans: what each row is of.
    """

    rows: Matrix
    spans: Sequence[Span]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AudioFeatures):
            return NotImplemented
        return self.spans == other.spans and np.array_equal(self.rows, other.rows)

    __hash__ = None  # type: ignore[assignment]  # arrays have none


class MfccEncoder:
    """Sounds to (720,) rows of unit norm: what their voiced part sounds like from its start to its end.

    Each of six consecutive parts gives the mean and the standard deviation of 20 cepstra, of their slopes and
    of their curvatures. Loudness is taken relative to the loudest of the clip, so its level does not matter.
    A silent clip's row is 0.
    """

    numerics = "numpy fp32"

    def __init__(self, device: str) -> None:
        shape = (RATE, FRAMES, WINDOW, HOP, _BANDS, _LOW, _CEPSTRA, _SEGMENTS, _OVERLAP)
        weighing = (_DYNAMIC, _QUIET, _MEAN_KEPT, _SLOPES, _DEVIATIONS)
        self.spec = EncoderSpec(
            name="acoustic",
            modality=Modality.AUDIO,
            dimension=_SEGMENTS * 2 * 3 * _CEPSTRA,
            weights=hashlib.sha256(b"none: acoustic 1").hexdigest(),
            preprocessing=f"mono by mean, soxr HQ, log-mel, cepstra, deltas, parts; {shape} {weighing}",
        )
        self.parts: PartLayout | None = PartLayout(self.spec.dimension, 0, _SEGMENTS, 2 * 3 * _CEPSTRA)
        self._device = device

    def __repr__(self) -> str:
        return f"Acoustic(device={self._device!r})"  # which it has no use for: all is done in ``prepare``

    def prepare(self, medium: Any) -> AudioFeatures:
        """What a sound is described by, whole and in windows.

        Args:
            medium: a path, ``bytes``, or a ``(samples, rate)`` tuple of float32 mono samples and samples a
                second.

        Raises:
            MediaError: the medium holds no sound that can be decoded, or exceeds a limit.
        """
        clip = load_audio(medium, RATE)
        level = _level(clip)
        tiling = _tiling(clip.seconds)
        windows = [level[round(start * FRAMES) : round(end * FRAMES)] for start, end in tiling]
        spans = (*WHOLE, *(Span(start, end) for start, end in tiling))
        return AudioFeatures(np.stack([_row(each) for each in (level, *windows)]), spans)

    def encode(self, prepared: Sequence[AudioFeatures]) -> Matrix:
        """(n, 720) float32 rows of unit norm, as many a medium as it has spans."""
        return np.concatenate(
            [np.empty((0, self.spec.dimension), np.float32), *(one.rows for one in prepared)]
        )

    def spans(self, prepared: AudioFeatures) -> Sequence[Span]:
        """The whole, and where it is longer than ``WINDOW`` each window."""
        return prepared.spans

    def class_head(self) -> ClassHead | None:
        """None: nothing is learned, so there are no classes."""
        return None


def _level(clip: AudioClip) -> Frames:
    """(frames, bands) float32 mel bands in dB, the loudest sample being full scale."""
    peak = np.abs(clip.samples).max()
    samples = clip.samples / peak if peak else clip.samples
    power = acoustics.mel_spectrogram(
        samples, RATE, size=512, hop=RATE // FRAMES, window=400, bands=_BANDS, low=_LOW
    )
    return acoustics.decibels(power, dynamic=None)


def _tiling(seconds: float) -> list[tuple[float, float]]:
    """Where the windows of a sound that is longer than one start and end, in seconds.

    They depend on the length alone: one from every ``HOP`` seconds on. The last ends with the sound, and is
    longer than ``HOP``.
    """
    if seconds <= WINDOW:
        return []
    starts = range(0, int(np.ceil(seconds)) - HOP, HOP)
    return [(float(start), min(float(start + WINDOW), seconds)) for start in starts]


def _row(level: Frames) -> Matrix:
    """(dimension,) float32 of unit norm, or 0 if nothing is to be audible.

    Args:
        level: (frames, bands) float32 in dB.
    """
    level = level - level.max()
    cepstra = acoustics.cepstra(np.maximum(level, np.float32(-_DYNAMIC)), _CEPSTRA)
    slopes = [_SLOPES * acoustics.delta(cepstra, order=order) for order in (1, 2)]
    loudness = acoustics.decibels(np.exp(level * np.float32(np.log(10) / 10)).sum(axis=1), dynamic=None)
    loud = np.flatnonzero(loudness > loudness.max() - _QUIET)
    audible = slice(loud[0], loud[-1] + 1)
    centred = acoustics.normalised(cepstra[audible], variance=False)
    centred += _MEAN_KEPT * (cepstra[audible] - centred)
    parts = acoustics.pooled(
        np.hstack([centred, *(each[audible] for each in slopes)]), _SEGMENTS, overlap=_OVERLAP
    )
    parts[:, parts.shape[1] // 2 :] *= _DEVIATIONS
    return parts.ravel() / (np.linalg.norm(parts) or 1)
