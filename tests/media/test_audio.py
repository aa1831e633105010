"""Audio of every format, rate and shape is decoded or refused, and encoded consistently."""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import correlate

from retrieval.encoders.base import Span
from retrieval.encoders.mfcc import MfccEncoder
from retrieval.errors import MediaError
from retrieval.media import audio
from retrieval.media.audio import load_audio
from tests.helpers.pictures import noise, saved
from tests.helpers.sounds import coded, melody, wav

RATE = 44100
TUNE = melody(1.5, RATE)
STEREO = np.stack([TUNE, -0.5 * TUNE], axis=1)
ENCODER = MfccEncoder("cpu")
LIBSNDFILE = {
    "WAV": "PCM_16",
    "FLAC": "PCM_16",
    "MP3": None,
    "OGG": "VORBIS",
    "AIFF": "PCM_24",
    "W64": "FLOAT",
}
FFMPEG = {"adts": "aac", "ipod": "aac", "wv": "wavpack", "tta": "tta", "ac3": "ac3"}


def max_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of two sounds at the delay where it is highest."""
    products = correlate(one, other, method="fft")
    return float(products.max() / (np.linalg.norm(one) * np.linalg.norm(other)))


@pytest.mark.parametrize(("form", "subtype"), LIBSNDFILE.items())
def test_libsndfile_formats_are_decoded(tmp_path: Path, form: str, subtype: str | None) -> None:
    content = wav(TUNE, RATE, form=form, subtype=subtype)
    clip = load_audio(content)
    assert (clip.rate, clip.truncated, clip.samples.dtype) == (RATE, False, np.float32)
    assert abs(len(clip.samples) - len(TUNE)) <= 2500
    file = tmp_path / "tune.bin"  # the content decides, not the name
    file.write_bytes(content)
    assert_array_equal(load_audio(file).samples, clip.samples)
    if form not in {"MP3", "OGG"}:
        assert_allclose(clip.samples, TUNE, atol=1 / 32000)


@pytest.mark.parametrize(("form", "codec"), FFMPEG.items())
def test_ffmpeg_formats_are_decoded(form: str, codec: str) -> None:
    clip = load_audio(coded(TUNE, RATE, form=form, codec=codec))
    assert clip.rate == RATE
    assert clip.seconds == pytest.approx(1.5, abs=0.1)
    assert max_correlation(clip.samples, TUNE) > 0.9


def test_opus_and_video_sound_tracks_are_decoded() -> None:
    assert load_audio(wav(melody(1, 48000), 48000, form="OGG", subtype="OPUS")).seconds == pytest.approx(
        1, abs=0.1
    )
    film = coded(TUNE, RATE, form="mp4", codec="aac", pictures=True)
    assert load_audio(film).seconds == pytest.approx(1.5, abs=0.1)


def test_resampling_equals_librosa(tmp_path: Path) -> None:
    file = tmp_path / "tune.wav"
    file.write_bytes(wav(STEREO, RATE, subtype="PCM_16"))
    for rate in (16000, 22050, 48000, RATE):
        mono = librosa.to_mono(soundfile.read(file, dtype="float32")[0].T)
        expected = librosa.resample(mono, orig_sr=RATE, target_sr=rate)
        assert_allclose(load_audio(file, rate).samples, expected, atol=1e-6)


def test_decoding_long_files_in_blocks_equals_decoding_at_once() -> None:
    long = melody(13, RATE)
    assert len(long) > 2 * audio._BLOCK
    assert_allclose(
        load_audio(wav(long, RATE), 16000).samples, load_audio((long, RATE), 16000).samples, atol=1e-6
    )


def test_channels_are_averaged() -> None:
    eight = np.random.default_rng(0).uniform(-1, 1, (4000, 8)).astype(np.float32)
    assert_allclose(load_audio(wav(eight, 8000)).samples, eight.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 11025, 192000])
@pytest.mark.parametrize("count", [1, 2, 3, 5000])
def test_any_rate_and_length_gives_a_row(rate: int, count: int) -> None:
    for samples in (melody(1, rate)[:count], np.zeros(count, np.float32)):
        clip = load_audio(wav(samples, rate), 16000)
        assert len(clip.samples) == -(-count * 16000 // rate)
        rows = ENCODER.encode([ENCODER.prepare(wav(samples, rate))])
        assert rows.shape == (1, ENCODER.spec.dimension)
        assert np.isfinite(rows).all()


def test_audio_beyond_the_maximum_length_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "MAX_SECONDS", 1.0)
    clip = load_audio(wav(TUNE, RATE), 16000)
    assert (clip.truncated, clip.seconds) == (True, 1.0)
    assert_allclose(clip.samples, load_audio((TUNE[:RATE], RATE), 16000).samples, atol=1e-6)
    assert not load_audio((TUNE[:RATE], RATE)).truncated
    assert load_audio(coded(TUNE, RATE, form="adts", codec="aac")).truncated


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"not a sound at all" * 100, "cannot be decoded"),
        (bytes(5000), "cannot be decoded"),
        (saved(noise(40, 30), "PNG"), "only pictures"),
        (wav(np.zeros(0, np.float32), 8000), "expected a sound"),
        (wav(np.array([0, np.nan, 1], np.float32), 8000), "not finite numbers"),
        (wav(np.array([0, np.inf, 1], np.float32), 8000), "not finite numbers"),
        (wav(TUNE, RATE)[:30], "expected a sound"),
        (wav(TUNE, 10), "expected a rate"),
    ],
)
def test_invalid_audio_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "tune.wav"
    file.write_bytes(content)
    for source in (content, file):
        with pytest.raises(MediaError, match=message) as caught:
            load_audio(source)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "source",
    [
        3.5,
        None,
        (TUNE, 0),
        (TUNE, "fast"),
        (STEREO, RATE),
        (TUNE[:0], RATE),
        (TUNE.astype(int), RATE),
        (TUNE,),
    ],
)
def test_invalid_sources_are_refused(source: object) -> None:
    with pytest.raises(MediaError, match="expected"):
        load_audio(source)  # type: ignore[arg-type]


def test_missing_files_folders_and_large_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MediaError, match="No such file"):
        load_audio(tmp_path / "none.wav")
    with pytest.raises(MediaError, match="is a folder"):
        load_audio(tmp_path)
    monkeypatch.setattr(audio, "MAX_BYTES", 100)
    with pytest.raises(MediaError, match="too large"):
        load_audio(wav(TUNE, RATE))


@pytest.mark.parametrize("form", ["WAV", "FLAC", "MP3", "aac"])
def test_the_beginning_of_a_truncated_file_is_decoded(form: str) -> None:
    whole = (
        coded(TUNE, RATE, form="adts", codec=form)
        if form == "aac"
        else wav(TUNE, RATE, form=form, subtype=LIBSNDFILE[form])
    )
    clip = load_audio(whole[: len(whole) // 2])
    assert 0.3 < clip.seconds < 1.2


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {}\n",
        "[playlist]\nFile1={}\n",
    ],
)
@pytest.mark.parametrize("target", ["tune.wav", "http://127.0.0.1:9/tune.wav"])
def test_playlists_open_no_other_file(tmp_path: Path, playlist: str, target: str) -> None:
    (tmp_path / "tune.wav").write_bytes(wav(TUNE, RATE))
    file = tmp_path / "list.m3u8"
    file.write_text(playlist.format(target))
    with pytest.raises(MediaError, match="expected a sound"):
        load_audio(file)


def test_a_long_clip_has_a_row_for_the_whole_and_one_per_window() -> None:
    long = melody(23.5)
    prepared = ENCODER.prepare((long, 16000))
    spans = ENCODER.spans(prepared)
    assert spans == (Span(), Span(0, 10), Span(5, 15), Span(10, 20), Span(15, 23.5))
    rows = ENCODER.encode([prepared])
    assert rows.shape == (5, ENCODER.spec.dimension)
    assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    # A window equals the same part alone, except that frames at both ends include samples beyond it.
    alone = ENCODER.encode([ENCODER.prepare((long[5 * 16000 : 15 * 16000], 16000))])[0]
    assert rows[2] @ alone > 0.999
    assert rows[1] @ alone < 0.99


@pytest.mark.parametrize("seconds", [0.5, 9.99, 10, 10.01, 15, 15.5, 60])
def test_windows_cover_the_clip(seconds: float) -> None:
    spans = ENCODER.spans(ENCODER.prepare((melody(seconds, 8000), 8000)))
    assert spans[0] == Span()
    if seconds <= 10:
        assert len(spans) == 1
    else:
        assert spans[1].start == 0
        assert spans[-1].end == pytest.approx(seconds, abs=1e-3)
        assert all(5 < span.end - span.start <= 10 for span in spans[1:])


def test_rows_ignore_level_and_surrounding_silence() -> None:
    base = ENCODER.prepare((melody(1), 16000)).rows
    quiet = ENCODER.prepare((1e-3 * melody(1), 16000)).rows
    assert_allclose(quiet, base, atol=1e-4)
    padded = np.pad(melody(1), (8000, 4000))
    assert ENCODER.prepare((padded, 16000)).rows[0] @ base[0] > 0.97


def test_silence_has_a_row_of_zeros() -> None:
    assert not ENCODER.prepare((np.zeros(16000, np.float32), 16000)).rows.any()


def test_spoken_digits_of_an_unseen_speaker_are_classified(data_folder: Path) -> None:
    """The nearest class mean of three speakers classifies the digits of a fourth, far above chance (0.1)."""
    folder = data_folder / "spoken-digits"
    if not folder.is_dir():
        pytest.skip(f"needs the spoken digits: no folder {folder}")
    speakers = ("jackson", "nicolas", "yweweler", "theo")
    names = [(digit, speaker, take) for digit in range(10) for speaker in speakers for take in range(3)]
    files = [folder / f"{digit}_{speaker}_{take}.wav" for digit, speaker, take in names]
    rows = ENCODER.encode([ENCODER.prepare(file) for file in files]).reshape(10, 4, 3, -1)
    means = rows[:, :3].mean(axis=(1, 2))
    predicted = (rows[:, 3] @ means.T - 0.5 * (means**2).sum(axis=1)).argmax(axis=-1)
    assert (predicted == np.arange(10)[:, None]).mean() > 0.4
