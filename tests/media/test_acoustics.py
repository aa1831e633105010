"""Every step of the acoustic front end equals librosa and satisfies its formula."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from retrieval.errors import OptionError
from retrieval.media import acoustics
from tests.helpers.sounds import melody

RATE = 22050
SOUNDS = {
    "melody": melody(2.3, RATE),
    "noise": np.random.default_rng(0).standard_normal(30000).astype(np.float32),
    "short": melody(0.05, RATE),
    "silence": np.zeros(5000, np.float32),
}
MATRICES = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 30), st.integers(1, 4)), elements=st.floats(-100, 100, width=32)
)


@pytest.fixture(params=SOUNDS)
def samples(request: pytest.FixtureRequest) -> acoustics.Samples:
    return SOUNDS[request.param]


@pytest.mark.filterwarnings("ignore:n_fft=:UserWarning")
@pytest.mark.parametrize(("size", "hop", "window"), [(2048, 512, None), (512, 160, 400), (256, 64, 201)])
def test_spectra_equal_librosa(samples: acoustics.Samples, size: int, hop: int, window: int | None) -> None:
    expected = librosa.stft(samples, n_fft=size, hop_length=hop, win_length=window).T
    actual = acoustics.stft(samples, size=size, hop=hop, window=window)
    assert actual.dtype == np.complex64
    assert actual.shape == (1 + len(samples) // hop, 1 + size // 2)
    assert_allclose(actual, expected, atol=1e-4)
    power = acoustics.power_spectrogram(samples, size=size, hop=hop, window=window)
    assert_allclose(power, np.abs(expected) ** 2, rtol=1e-5, atol=1e-6)


def test_spectrum_has_the_energy_of_the_window() -> None:
    """Parseval's theorem, with the window function applied."""
    power = acoustics.power_spectrogram(SOUNDS["noise"], size=256, hop=64)[20]
    cut = SOUNDS["noise"][20 * 64 - 128 : 20 * 64 + 128] * librosa.filters.get_window("hann", 256)
    assert (2 * power.sum() - power[0] - power[-1]) / 256 == pytest.approx((cut**2).sum(), rel=1e-5)


@pytest.mark.filterwarnings("ignore:n_fft=:UserWarning")
def test_mel_bands_equal_librosa(samples: acoustics.Samples) -> None:
    expected = librosa.feature.melspectrogram(y=samples, sr=RATE, n_mels=40, fmin=50, fmax=8000).T
    actual = acoustics.mel_spectrogram(samples, RATE, bands=40, low=50, high=8000)
    assert actual.dtype == np.float32
    assert_allclose(actual, expected, rtol=1e-4, atol=1e-8)
    assert_allclose(acoustics.decibels(actual), librosa.power_to_db(expected, top_db=80), rtol=0, atol=1e-4)


def test_filters_are_built_once() -> None:
    filters = acoustics.mel_filters(16000, 512, 64)
    assert acoustics.mel_filters(16000, 512, 64) is filters
    assert_array_equal(filters.toarray(), librosa.filters.mel(sr=16000, n_fft=512, n_mels=64))


@pytest.mark.filterwarnings("ignore:n_fft=:UserWarning")
def test_mfcc_equal_librosa(samples: acoustics.Samples) -> None:
    actual = acoustics.mfcc(samples, RATE)
    assert actual.dtype == np.float32
    assert_allclose(actual, librosa.feature.mfcc(y=samples, sr=RATE).T, rtol=0, atol=1e-4)


@pytest.mark.parametrize("width", [3, 9])
@pytest.mark.parametrize("order", [1, 2])
def test_deltas_equal_librosa(width: int, order: int) -> None:
    values = np.random.default_rng(1).standard_normal((40, 5)).astype(np.float32)
    assert_allclose(
        acoustics.delta(values, width=width, order=order),
        librosa.feature.delta(values.T, width=width, order=order).T,
        atol=1e-5,
    )


def test_delta_of_a_line_is_its_slope() -> None:
    line = np.outer(np.arange(20, dtype=np.float32), np.array([2, -0.5], np.float32))
    assert_allclose(acoustics.delta(line), np.tile([2, -0.5], (20, 1)), atol=1e-5)
    assert_allclose(acoustics.delta(line, order=2), 0, atol=1e-5)
    assert acoustics.delta(line[:1]).shape == (1, 2)


@given(MATRICES)
def test_normalised_columns_have_mean_0_and_variance_1(values: acoustics.Frames) -> None:
    normal = acoustics.normalised(values)
    assert_allclose(normal.mean(axis=0), 0, atol=1e-3)
    spread = normal.std(axis=0)
    assert ((np.abs(spread - 1) < 1e-3) | (spread == 0)).all()
    centred = acoustics.normalised(values, variance=False)
    assert_allclose(centred, values - values.mean(axis=0), atol=1e-4)


@given(MATRICES, st.integers(1, 8), st.floats(0.1, 3))
def test_pooled_means_are_in_range_and_deviations_at_most_half_the_range(
    values: acoustics.Frames, segments: int, overlap: float
) -> None:
    parts = acoustics.pooled(values, segments, overlap=overlap)
    columns = values.shape[1]
    assert parts.shape == (segments, 2 * columns)
    assert parts.dtype == np.float32
    least, most = values.min(axis=0), values.max(axis=0)
    assert (parts[:, :columns] >= least - 1e-3).all()
    assert (parts[:, :columns] <= most + 1e-3).all()
    assert (parts[:, columns:] <= (most - least) / 2 + 1e-3).all()


def test_pooled_parts_keep_the_order_of_time() -> None:
    rising = np.arange(100, dtype=np.float32)[:, None]
    means = acoustics.pooled(rising, 5)[:, 0]
    assert (np.diff(means) > 0).all()
    assert_allclose(acoustics.pooled(rising[::-1], 5)[::-1, 0], means, rtol=1e-5)


@pytest.mark.parametrize("wrong", [{"size": 511}, {"window": 4096}, {"hop": 0}])
def test_inconsistent_sizes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(OptionError, match=r"expected an even size.* not"):
        acoustics.stft(SOUNDS["short"], **wrong)


@pytest.mark.parametrize("wrong", [{"width": 4}, {"width": 1}, {"order": 0}, {"order": 9}])
def test_invalid_delta_options_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(OptionError, match=r"expected an odd width .* not"):
        acoustics.delta(SOUNDS["short"][:, None], **wrong)
