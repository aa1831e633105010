"""Standard steps of an acoustic front end: from samples to spectra, mel bands, cepstra and their statistics.

Time is the first axis of every array, and each row is one frame: librosa's arrays, which these equal, are the
transposes. Results are float32. Nothing here uses BLAS, whose threads would compete with the workers that read
files. SciPy and librosa are imported when first needed.
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

_BLOCK = 256  # frames transformed at once: many, because threads wait for each other between the steps


def stft(
    samples: Samples, *, size: int = 2048, hop: int = 512, window: int | None = None
) -> NDArray[np.complex64]:
    """Compute the short-time Fourier transform: X[t, k] = sum_n w[n] x[t hop - size / 2 + n] exp(-2 pi i k n / size).

    Frames are centred on the multiples of ``hop``, with zeros before the first sample and after the last;
    w is a periodic Hann window. Allen, "Short term spectral analysis, synthesis, and modification by discrete
    Fourier transform" (1977).

    Args:
        samples: (n,) float32.
        size: samples per transform, even.
        hop: samples from one frame to the next.
        window: length of the window in samples, centred in ``size``; at most ``size``, which is the default.

    Returns:
        (1 + n // hop, 1 + size // 2) complex64.

    Raises:
        OptionError: the sizes do not fit together.
    """
    return np.concatenate([each.astype(np.complex64) for each in _spectra(samples, size, hop, window)])


def power_spectrogram(
    samples: Samples, *, size: int = 2048, hop: int = 512, window: int | None = None
) -> Frames:
    """Return |X|^2 of the ``stft`` with the same arguments: (1 + n // hop, 1 + size // 2) float32."""
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
    """Return the power in each mel band: (1 + n // hop, bands) float32. Only a few spectra are in memory at a time.

    Args:
        samples: (n,) float32.
        rate: samples per second.
        size: see ``stft``.
        hop: see ``stft``.
        window: see ``stft``.
        bands: see ``mel_filters``.
        low: see ``mel_filters``.
        high: see ``mel_filters``.
    """
    filters = mel_filters(rate, size, bands, low, high)
    mel: Frames = np.empty((1 + len(samples) // hop, bands), np.float32)
    at = 0
    for spectra in _spectra(samples, size, hop, window):
        # The sparse product runs along the frames of each frequency, so these must be contiguous in memory.
        power = _power(spectra, _SCRATCH.array("power", spectra.T.shape, np.float32).T)
        mel[at : at + len(power)] = (filters @ power.T).T
        at += len(power)
    return mel


@lru_cache(maxsize=16)
def mel_filters(
    rate: int, size: int, bands: int = 128, low: float = 0.0, high: float | None = None
) -> csr_array:
    """Return triangular filters evenly spaced on Slaney's mel scale, each of unit area in hertz; built once.

    Slaney, "Auditory Toolbox" (Interval Research technical report 1998-010).

    Args:
        rate: samples per second.
        size: samples per transform.
        bands: number of filters.
        low: frequency where the first filter begins, in hertz.
        high: frequency where the last filter ends, in hertz; None for half the rate.

    Returns:
        (bands, 1 + size // 2) sparse float32; shared, do not modify it.
    """
    from librosa.filters import mel
    from scipy.sparse import csr_array

    return csr_array(mel(sr=rate, n_fft=size, n_mels=bands, fmin=low, fmax=high))


def decibels(power: Frames, *, floor: float = 1e-10, dynamic: float | None = 80.0) -> Frames:
    """Return 10 log10 of power, in dB re 1.

    Args:
        power: an array of any shape, without negative values.
        floor: smaller powers are raised to this.
        dynamic: values more than this many dB below the loudest are raised to that level; None for no limit.
    """
    level: Frames = np.log10(np.maximum(power, np.float32(floor)))
    level *= 10
    if dynamic is not None and level.size:
        np.maximum(level, level.max() - np.float32(dynamic), out=level)
    return level


def cepstra(level: Frames, count: int = 20) -> Frames:
    """Return the first cepstral coefficients of each frame: the orthonormal DCT-II along its mel bands.

    With ``level`` in dB these are librosa's MFCC. Davis and Mermelstein, "Comparison of parametric
    representations for monosyllabic word recognition" (1980).

    Args:
        level: (frames, bands) float32.
        count: number of coefficients to keep; the first is the frame's loudness.

    Returns:
        (frames, count) float32.
    """
    from scipy.fft import dct

    coefficients: Frames = dct(level, axis=1, norm="ortho")[:, :count]
    return np.ascontiguousarray(coefficients)


def mfcc(samples: Samples, rate: int, count: int = 20) -> Frames:
    """Return mel-frequency cepstral coefficients with librosa's defaults: (1 + n // 512, count) float32."""
    return cepstra(decibels(mel_spectrogram(samples, rate)), count)


def delta(values: Frames, *, width: int = 9, order: int = 1) -> Frames:
    """Return the slope (order 1) or curvature (order 2) per frame of each column over ``width`` frames.

    These are derivatives of the polynomial of degree ``order`` fitted to the frames around each one. At the ends, the
    polynomial of the outermost ``width`` frames is used; with fewer frames in all, the end frames are repeated.
    Savitzky and Golay, "Smoothing and differentiation of data by simplified least squares procedures" (1964).

    Args:
        values: (frames, columns) float32, at least one frame.
        width: number of frames, odd, at least 3.
        order: order of the derivative, below ``width``.

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
    """Normalise cepstral mean and variance: each column gets mean 0 and variance 1 over the frames.

    A microphone or a room multiplies the spectrum, which adds a constant to the cepstrum; this removes it.
    A column that does not vary becomes 0. Viikki and Laurila, "Cepstral domain segmental feature vector
    normalization for noise robust speech recognition" (1998).

    Args:
        values: (frames, columns) float32.
        variance: whether to normalise the variance as well as the mean.
    """
    centred: Frames = values - values.mean(axis=0)
    if not variance:
        return centred
    deviation = centred.std(axis=0)
    # Rounding errors in a constant column do not count as variation.
    constant = deviation <= 1e-6 * np.abs(values).max(axis=0, initial=0)
    centred *= np.where(constant, 0, 1 / np.where(constant, 1, deviation))
    return centred


def pooled(values: Frames, segments: int, *, overlap: float = 1.0) -> Frames:
    """Return mean and standard deviation of consecutive parts of a clip, so that their order is kept.

    Part s of S weights the frame at t in [0, 1] of the whole length by a Gaussian around (s + 1/2) / S with
    a standard deviation of overlap / (2 S). Parts fade into each other, so a sound that comes slightly earlier
    changes the result only slightly.

    Args:
        values: (frames, columns) float32, at least one frame.
        segments: number of parts.
        overlap: how far neighbouring parts overlap; near 0, each part is only its middle.

    Returns:
        (segments, 2 columns) float32, means first.
    """
    times = (np.arange(len(values)) + 0.5) / len(values)
    middles = (np.arange(segments) + 0.5) / segments
    distances = (times - middles[:, None]) * (2 * segments / overlap)
    # Subtract the minimum: parts shorter than a frame may have no frame near their middle.
    squares = distances**2
    weights = np.exp(-0.5 * (squares - squares.min(axis=1, keepdims=True)))
    weights /= weights.sum(axis=1, keepdims=True)
    # einsum does not use BLAS.
    means = np.einsum("st,tc->sc", weights, values)
    squares = np.einsum("st,tc->sc", weights, np.square(values, dtype=np.float64))
    spread = np.sqrt(np.maximum(squares - means**2, 0))
    return np.concatenate([means, spread], axis=1).astype(np.float32)


@lru_cache(maxsize=16)
def _hann(size: int, window: int) -> NDArray[np.float64]:
    """Return a periodic Hann window of ``window`` samples, padded with zeros to ``size``."""
    curve = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    before = (size - window) // 2
    return np.pad(curve, (before, size - window - before))


_SCRATCH = Scratch()


def _spectra(samples: Samples, size: int, hop: int, window: int | None) -> Iterator[NDArray[np.complex128]]:
    """Yield the frames of ``stft`` in blocks; each block overwrites the one before."""
    window = size if window is None else window
    if not (0 < window <= size and hop > 0 and size % 2 == 0):
        raise OptionError(
            "expected an even size, a window no longer than the size and a positive hop, "
            f"not {size}, {window} and {hop}"
        )
    weights = _hann(size, window)
    count = 1 + len(samples) // hop
    for at in range(0, count, _BLOCK):
        rows = min(_BLOCK, count - at)
        piece = _around(samples, at * hop - size // 2, (rows - 1) * hop + size)
        frames = np.lib.stride_tricks.sliding_window_view(piece, size)[::hop]
        weighed = np.multiply(frames, weights, out=_SCRATCH.array("frames", frames.shape, np.float64))
        # In float64: with float32, quiet bins beside loud ones would have larger errors than librosa's.
        yield np.fft.rfft(weighed, out=_SCRATCH.array("spectra", (rows, 1 + size // 2), np.complex128))


def _around(samples: Samples, first: int, count: int) -> Samples:
    """Return ``count`` samples from ``first`` on, with zeros before the beginning and after the end."""
    piece: Samples = _SCRATCH.array("samples", (count,), np.float32)
    begin, end = max(first, 0), min(first + count, len(samples))
    piece[: begin - first] = 0
    piece[begin - first : end - first] = samples[begin:end]
    piece[end - first :] = 0
    return piece


def _power(spectra: NDArray[np.complex128], out: Frames) -> Frames:
    """Return |X|^2 of a block from ``_spectra``; the block is overwritten with its squares."""
    parts = spectra.view(np.float64)
    np.square(parts, out=parts)
    return np.add(parts[:, ::2], parts[:, 1::2], out=out, casting="same_kind")
