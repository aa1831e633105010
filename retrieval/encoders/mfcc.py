"""Encode audio by statistics of its mel-frequency cepstra, in the order of time.

Nothing is learned: the standard steps of ``retrieval.media.acoustics`` in the standard order. A clip longer than a
window has a row for the whole and one for each window of a fixed tiling, all computed in the same way.
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
"""Samples per second to which all audio is resampled."""

FRAMES = 100
"""Frames per second."""

WINDOW, HOP = 10, 5
"""Length of a window of the tiling, and distance from one start to the next, in seconds."""

_BANDS, _LOW = 64, 50.0  # number of mel bands, and their lowest frequency in hertz; the highest is RATE / 2
_CEPSTRA = 20
_DYNAMIC = 60.0  # dB below the loudest band of a clip; anything quieter is raised to this floor
_QUIET = 35.0  # dB below the loudest frame; quieter frames at both ends are removed
_SEGMENTS, _OVERLAP = 6, 1.6
# Within an utterance the mean reflects the microphone, but also what is said: half of it is removed.
_MEAN_KEPT = 0.5
# Slopes and deviations are small numbers but as informative as the large ones.
_SLOPES, _DEVIATIONS = 4.0, 2.0


@dataclass(frozen=True, eq=False)
class AudioFeatures:
    """Feature rows of one clip.

    Attributes:
        rows: (n, dimension) float32, the first for the whole clip.
        spans: the part of the clip that each row describes.
    """

    rows: Matrix
    spans: Sequence[Span]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AudioFeatures):
            return NotImplemented
        return self.spans == other.spans and np.array_equal(self.rows, other.rows)

    __hash__ = None  # type: ignore[assignment]  # arrays have no hash


class MfccEncoder:
    """Encodes audio as (720,) rows of unit norm that describe its loud part from start to end.

    Six consecutive parts each give the mean and the standard deviation of 20 cepstra, of their slopes and of their
    curvatures. Loudness is relative to the loudest moment of the clip, so the level does not matter.
    The row of a silent clip is 0.
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
        return f"Acoustic(device={self._device!r})"  # the device is not used: ``prepare`` does all the work

    def prepare(self, medium: Any) -> AudioFeatures:
        """Compute the rows of a clip, for the whole and for its windows.

        Args:
            medium: a path, ``bytes``, or a ``(samples, rate)`` tuple of float32 mono samples and samples per
                second.

        Raises:
            MediaError: the medium has no audio that can be decoded, or exceeds a limit.
        """
        clip = load_audio(medium, RATE)
        level = _level(clip)
        tiling = _tiling(clip.seconds)
        windows = [level[round(start * FRAMES) : round(end * FRAMES)] for start, end in tiling]
        spans = (*WHOLE, *(Span(start, end) for start, end in tiling))
        return AudioFeatures(np.stack([_row(each) for each in (level, *windows)]), spans)

    def encode(self, prepared: Sequence[AudioFeatures]) -> Matrix:
        """Return (n, 720) float32 rows of unit norm; each medium has one row per span."""
        return np.concatenate(
            [np.empty((0, self.spec.dimension), np.float32), *(one.rows for one in prepared)]
        )

    def spans(self, prepared: AudioFeatures) -> Sequence[Span]:
        """Return the whole, then each window if the clip is longer than ``WINDOW``."""
        return prepared.spans

    def class_head(self) -> ClassHead | None:
        """Return None: nothing is learned, so there are no classes."""
        return None


def _level(clip: AudioClip) -> Frames:
    """Return (frames, bands) float32 mel bands in dB, scaled so that the loudest sample is full scale."""
    peak = np.abs(clip.samples).max()
    samples = clip.samples / peak if peak else clip.samples
    power = acoustics.mel_spectrogram(
        samples, RATE, size=512, hop=RATE // FRAMES, window=400, bands=_BANDS, low=_LOW
    )
    return acoustics.decibels(power, dynamic=None)


def _tiling(seconds: float) -> list[tuple[float, float]]:
    """Return start and end of each window, in seconds; none if the clip is not longer than a window.

    They depend on the length alone: a window starts every ``HOP`` seconds. The last ends with the clip and is
    longer than ``HOP``.
    """
    if seconds <= WINDOW:
        return []
    starts = range(0, int(np.ceil(seconds)) - HOP, HOP)
    return [(float(start), min(float(start + WINDOW), seconds)) for start in starts]


def _row(level: Frames) -> Matrix:
    """Return a (dimension,) float32 row of unit norm, or 0 if the clip is silent.

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
