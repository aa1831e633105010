"""The standard parts of an acoustic front end: samples to spectra, mel bands, cepstra and their statistics.

Time comes first in every array, and one row is one frame: librosa's arrays, which these equal, are the
transposes. Results are float32. Nothing here goes through BLAS, whose threads would get in the way of the
workers that files are read in. SciPy and librosa are imported when first needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from retrieval.arrays.scratch import Scratch
from retrieval.errors import OptionError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Samples: TypeAlias = NDArray[np.float32]
"""(n,) float32: mono, full scale at -1 and 1."""

Frames: TypeAlias = NDArray[np.float32]
"""(frames, columns) float32."""

_BLOCK = 256  # frames transformed at once: many, for threads wait for each other between the steps


def stft(
    samples: Samples, *, size: int = 2048, hop: int = 512, window: int | None = None
) -> NDArray[np.complex64]:
    """Short-time Fourier transform: X[t, k] = sum_n w[n] x[t hop - size / 2 + n] exp(-2 pi i k n / size).

    Frames are centred on the multiples of ``hop``, with zeros before the first sample and after the last;
    w is a periodic Hann window. Allen, "Short term spectral analysis, synthesis, and modification by discrete
    Fourier transform" (1977).

    Args:
        samples: (n,) float32.
        size: samples a transform, even.
        hop: samples from one frame to the next.
        window: samples that the window spans, in the middle of ``size``, which it is at most and by default.

    Returns:
        (1 + n // hop, 1 + size // 2) complex64.

    Raises:
        OptionError: the sizes do not fit each other.
    """
    return np.concatenate([each.astype(np.complex64) for each in _spectra(samples, size, hop, window)])


def power_spectrogram(
    samples: Samples, *, size: int = 2048, hop: int = 512, window: int | None = None
) -> Frames:
    """|X|^2 of the ``stft``, which see: (1 + n // hop, 1 + size // 2) float32."""
    blocks = _spectra(samples, size, hop, window)
    return np.concatenate([_power(each, np.empty(each.shape, np.float32)) for each in blocks])


def mel_spectrogram(
    samples: Samples,
    rate: int,
    *,
    size: int = 2048,
    hop: int = 512,
    window: int | None = None,
    bands: int = 128,
    low: float = 0.0,
    high: float | None = None,
) -> Frames:
    """The power in each mel band: (1 + n // hop, bands) float32, never more than a few spectra in memory.

    Args:
        samples: (n,) float32.
        rate: samples a second.
        size: see ``stft``, as for ``hop`` and ``window``.
        hop: as there.
        window: as there.
        bands: see ``mel_filters``, as for ``low`` and ``high``.
        low: as there.
        high: as there.
    """
    filters = mel_filters(rate, size, bands, low, high)
    mel: Frames = np.empty((1 + len(samples) // hop, bands), np.float32)
    at = 0
    for spectra in _spectra(samples, size, hop, window):
        # The sparse product runs along the frames of each frequency, which therefore have to lie together.
        power = _power(spectra, _SCRATCH.array("power", spectra.T.shape, np.float32).T)
        mel[at : at + len(power)] = (filters @ power.T).T
        at += len(power)
    return mel


@lru_cache(maxsize=16)
def mel_filters(
    rate: int, size: int, bands: int = 128, low: float = 0.0, high: float | None = None
) -> csr_array:
    """Triangles evenly spaced on Slaney's mel scale, each of unit area in hertz; built once.

    Slaney, "Auditory Toolbox" (Interval Research technical report 1998-010).

    Args:
        rate: samples a second.
        size: samples a transform.
        bands: how many triangles.
        low: hertz at which the first one begins.
        high: hertz at which the last one ends; None for half the rate.

    Returns:
        (bands, 1 + size // 2) sparse float32; shared, not to be written to.
    """
    from librosa.filters import mel
    from scipy.sparse import csr_array

    return csr_array(mel(sr=rate, n_fft=size, n_mels=bands, fmin=low, fmax=high))


def decibels(power: Frames, *, floor: float = 1e-10, dynamic: float | None = 80.0) -> Frames:
    """10 log10 of power, in dB re 1.

    Args:
        power: of any shape, none negative.
        floor: least power.
        dynamic: dB below the loudest that everything quieter is raised to; None to leave it.
    """
    level: Frames = np.log10(np.maximum(power, np.float32(floor)))
    level *= 10
    if dynamic is not None and level.size:
        np.maximum(level, level.max() - np.float32(dynamic), out=level)
    return level


def cepstra(level: Frames, count: int = 20) -> Frames:
    """The first cepstral coefficients of each frame: the orthonormal DCT-II along its mel bands.

    With ``level`` in dB these are librosa's MFCC. Davis and Mermelstein, "Comparison of parametric
    representations for monosyllabic word recognition" (1980).

    Args:
        level: (frames, bands) float32.
        count: coefficients to keep, the first being the frame's loudness.

    Returns:
        (frames, count) float32.
    """
    from scipy.fft import dct

    kept: Frames = dct(level, axis=1, norm="ortho")[:, :count]
    return np.ascontiguousarray(kept)


def mfcc(samples: Samples, rate: int, count: int = 20) -> Frames:
    """Mel-frequency cepstral coefficients with librosa's defaults: (1 + n // 512, count) float32."""
    return cepstra(decibels(mel_spectrogram(samples, rate)), count)


def delta(values: Frames, *, width: int = 9, order: int = 1) -> Frames:
    """The slope (order 1) or curvature (order 2) a frame of each column over ``width`` frames.

    Derivatives of the polynomial of degree ``order`` fitted to the frames around each one. At the ends it is
    the polynomial of the outermost ``width`` frames; with fewer frames in all, the end frames are repeated.
    Savitzky and Golay, "Smoothing and differentiation of data by simplified least squares procedures" (1964).

    Args:
        values: (frames, columns) float32, at least one frame.
        width: frames, odd, at least 3.
        order: of the derivative, below ``width``.

    Raises:
        OptionError: ``width`` or ``order`` is out of its range.
    """
    from scipy.signal import savgol_filter

    if width < 3 or not width % 2 or not 0 < order < width:
        raise OptionError(
            f"expected an odd width of at least 3 and an order from 1 to width - 1, not {width} and {order}"
        )
    ends = "interp" if len(values) >= width else "nearest"
    slopes: Frames = savgol_filter(values, width, order, deriv=order, axis=0, mode=ends)
    return slopes.astype(np.float32, copy=False)


def normalised(values: Frames, *, variance: bool = True) -> Frames:
    """Cepstral mean and variance normalisation: each column with mean 0 and variance 1 over the frames.

    What a microphone or a room multiplies the spectrum by is a constant in the cepstrum, which this removes.
    A column that does not vary becomes 0. Viikki and Laurila, "Cepstral domain segmental feature vector
    normalization for noise robust speech recognition" (1998).

    Args:
        values: (frames, columns) float32.
        variance: whether the variance is normalised too, or the mean alone.
    """
    centred: Frames = values - values.mean(axis=0)
    if not variance:
        return centred
    deviation = centred.std(axis=0)
    # What rounding leaves of a constant column is no variation.
    constant = deviation <= 1e-6 * np.abs(values).max(axis=0, initial=0)
    centred *= np.where(constant, 0, 1 / np.where(constant, 1, deviation))
    return centred


def pooled(values: Frames, segments: int, *, overlap: float = 1.0) -> Frames:
    """Mean and standard deviation of consecutive parts of a clip, so that their order is kept.

    Part s of S weighs the frame at t in [0, 1] of the whole length by a Gaussian around (s + 1/2) / S with
    a standard deviation of overlap / (2 S): parts fade into one another, and a sound that comes a little
    earlier changes the result a little.

    Args:
        values: (frames, columns) float32, at least one frame.
        segments: how many parts.
        overlap: how far neighbours reach into one another; near 0 each part is its middle alone.

    Returns:
        (segments, 2 columns) float32, means first.
    """
    times = (np.arange(len(values)) + 0.5) / len(values)
    middles = (np.arange(segments) + 0.5) / segments
    distances = (times - middles[:, None]) * (2 * segments / overlap)
    # Less the least, for parts that are shorter than a frame and so have none near their middle.
    squares = distances**2
    weights = np.exp(-0.5 * (squares - squares.min(axis=1, keepdims=True)))
    weights /= weights.sum(axis=1, keepdims=True)
    # einsum does not go through BLAS.
    means = np.einsum("st,tc->sc", weights, values)
    squares = np.einsum("st,tc->sc", weights, np.square(values, dtype=np.float64))
    spread = np.sqrt(np.maximum(squares - means**2, 0))
    return np.concatenate([means, spread], axis=1).astype(np.float32)


@lru_cache(maxsize=16)
def _hann(size: int, window: int) -> NDArray[np.float64]:
    """A periodic Hann window of ``window`` samples between zeros, ``size`` in all."""
    curve = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    before = (size - window) // 2
    return np.pad(curve, (before, size - window - before))


_SCRATCH = Scratch()


def _spectra(samples: Samples, size: int, hop: int, window: int | None) -> Iterator[NDArray[np.complex128]]:
    """The frames of ``stft``, some at a time, each block in the place of the one before."""
    window = size if window is None else window
    if not (0 < window <= size and hop > 0 and size % 2 == 0):
        raise OptionError(
            "expected an even size, a window of at most that and a positive hop, "
            f"not {size}, {window} and {hop}"
        )
    weights = _hann(size, window)
    count = 1 + len(samples) // hop
    for at in range(0, count, _BLOCK):
        rows = min(_BLOCK, count - at)
        piece = _around(samples, at * hop - size // 2, (rows - 1) * hop + size)
        frames = np.lib.stride_tricks.sliding_window_view(piece, size)[::hop]
        weighed = np.multiply(frames, weights, out=_SCRATCH.array("frames", frames.shape, np.float64))
        # In float64: in float32, quiet bins beside loud ones would be off by more than librosa's.
        yield np.fft.rfft(weighed, out=_SCRATCH.array("spectra", (rows, 1 + size // 2), np.complex128))


def _around(samples: Samples, first: int, count: int) -> Samples:
    """So many samples from ``first`` on, with zeros before the beginning and after the end."""
    piece: Samples = _SCRATCH.array("samples", (count,), np.float32)
    begin, end = max(first, 0), min(first + count, len(samples))
    piece[: begin - first] = 0
    piece[begin - first : end - first] = samples[begin:end]
    piece[end - first :] = 0
    return piece


def _power(spectra: NDArray[np.complex128], out: Frames) -> Frames:
    """|X|^2 of a block from ``_spectra``, whose place it takes for the squares."""
    parts = spectra.view(np.float64)
    np.square(parts, out=parts)
    return np.add(parts[:, ::2], parts[:, 1::2], out=out, casting="same_kind")
