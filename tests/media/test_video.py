"""Videos are sampled over their whole length, as a person sees them; other files are refused in one line."""

from __future__ import annotations

import csv
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import iscc_samples
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from retrieval.encoders import registry
from retrieval.encoders.base import Span
from retrieval.encoders.video_frames import VideoFrameEncoder, frame_count, segment_starts
from retrieval.errors import MediaError, OptionError
from retrieval.media import video as video_module
from retrieval.media.timeline import Timeline, choose_frames, decode_runs, widen_requests
from retrieval.media.video import SampledFrames, sample_frames
from retrieval.types import Modality
from tests.helpers.encoder_cases import encoder
from tests.helpers.pictures import BLUE, RED, halves, noise, saved
from tests.helpers.videos import decode_all, grey, sound, steps, video

ROOT = Path(__file__).parents[2]


def sample(source: Any, count: int = 8) -> SampledFrames:
    return sample_frames(source, side=256, windows=lambda _: count)


def levels(sampled: SampledFrames) -> list[int]:
    """Return the grey level of the middle pixel of each frame."""
    middles = [one.image.getpixel((one.image.width // 2, one.image.height // 2)) for one in sampled.frames]
    return [round(float(np.mean(middle))) for middle in middles]


KINDS = {
    "H.264 with B-frames": {"codec": "libx264", "options": {"bf": "3"}},
    "one keyframe": {"keys": 1000},
    "open groups": {
        "codec": "libx264",
        "options": {"x264-params": "open-gop=1:bframes=3:keyint=7:min-keyint=7"},
    },
    "Matroska": {"form": "matroska", "codec": "mpeg4"},
    "WebM": {"form": "webm", "codec": "libvpx-vp9", "options": {"deadline": "realtime"}},
    "AVI of pictures": {"form": "avi", "codec": "mjpeg"},
    "transport stream": {"form": "mpegts", "codec": "mpeg2video", "rate": 25},
    "program stream": {"form": "mpeg", "codec": "mpeg2video", "rate": 25},
    "fragments": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 5, 33])
def test_sampled_frames_equal_those_of_a_full_decode(kind: str, count: int) -> None:
    options: dict[str, Any] = KINDS[kind]
    data = video([noise(64, 48, seed) for seed in range(40)], **options)
    everything = decode_all(data)
    sampled = sample(data, count)
    rate = options.get("rate", 10)
    assert sampled.seconds == pytest.approx(40 / rate, abs=0.6 / rate)
    assert len(sampled.frames) == count
    for frame in sampled.frames:
        assert_array_equal(frame.image, everything[round(frame.seconds, 3)])


@pytest.mark.parametrize("kind", KINDS)
def test_frames_come_from_the_whole_length(kind: str) -> None:
    options: dict[str, Any] = KINDS[kind]
    sampled = sample(video(steps(80), **options))
    at = np.array([frame.seconds for frame in sampled.frames]) / sampled.seconds
    assert_array_equal(np.floor(at * 8 + 1e-6), range(8))
    assert levels(sampled) == sorted(levels(sampled))


def test_a_path_and_bytes_give_the_same_frames(tmp_path: Path) -> None:
    data = video(steps(20))
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    pictures = [[frame.image.tobytes() for frame in sample(one).frames] for one in (path, str(path), data)]
    assert pictures[0] == pictures[1] == pictures[2]


def test_the_shorter_side_is_scaled_down_and_never_up() -> None:
    assert sample(video([noise(640, 320)] * 3)).frames[0].image.size == (512, 256)
    assert sample(video([noise(64, 320)] * 3)).frames[0].image.size == (64, 320)


def test_black_frames_are_skipped() -> None:
    frames = [grey(0)] * 6 + [grey(200)] * 14 + [grey(5)] * 10
    assert set(levels(sample(video(frames, keys=4)))) == {200}
    # The frame in the middle of the window, which would be chosen otherwise, is black.
    assert levels(sample(video([grey(200), grey(0), grey(0), grey(0), grey(0)], keys=99), 1)) == [200]
    assert levels(sample(video([grey(0), grey(0), grey(0), grey(0), grey(200)], keys=99), 1)) == [200]


def test_an_all_black_video_still_has_frames() -> None:
    sampled = sample(video([grey(2)] * 10))
    assert len(sampled.frames) == 8
    assert max(levels(sampled)) < 10


@pytest.mark.parametrize(
    ("rotation", "size"), [(0, (64, 32)), (90, (32, 64)), (180, (64, 32)), (-90, (32, 64))]
)
def test_rotation_is_applied(rotation: int, size: tuple[int, int]) -> None:
    upright = halves(RED, BLUE, size=(64, 32))
    picture = sample(video([upright] * 3, rotation=rotation)).frames[0].image
    assert picture.size == size
    # The matrix turns counterclockwise, as Pillow does.
    expected = upright.rotate(rotation, expand=True)
    assert np.abs(np.subtract(picture, expected, dtype=np.int16)).mean() < 25


def test_anamorphic_pixels_become_square() -> None:
    assert sample(video([noise(72, 64)] * 3, aspect=Fraction(16, 9))).frames[0].image.size == (128, 64)
    assert sample(video([noise(72, 64)] * 3, aspect=Fraction(1, 2))).frames[0].image.size == (72, 128)


def test_a_video_of_one_frame() -> None:
    sampled = sample(video([grey(90)]))
    assert len(sampled.frames) == 1
    assert sampled.frames[0].seconds == 0
    assert sampled.seconds == pytest.approx(0.1)


def test_frames_without_timestamps_are_counted() -> None:
    sampled = sample(video(steps(50), form="h264", rate=25))
    assert sampled.seconds == pytest.approx(2, abs=0.1)
    assert len(sampled.frames) == 8
    assert levels(sampled) == sorted(levels(sampled))


def test_timestamps_may_be_uneven_and_negative() -> None:
    stamps = [-7, -6, -5, 0, 20, 21, 60]
    data = video(steps(7), stamps=stamps)
    sampled = sample(data, 67)
    # Frames with negative times are hidden by the file's edit list.
    assert (
        [round(frame.seconds, 3) for frame in sampled.frames] == list(decode_all(data)) == [0, 2.0, 2.1, 6.0]
    )
    assert sampled.seconds == pytest.approx(6.1, abs=0.01)


@pytest.mark.parametrize("form", ["matroska", "mpegts", "avi", "flv"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_file_is_sampled_up_to_its_end(form: str, share: float) -> None:
    codec = {"flv": "flv", "mpegts": "mpeg2video"}.get(form, "mpeg4")
    data = video([noise(64, 48, seed) for seed in range(100)], form=form, codec=codec, rate=25)
    sampled = sample(data[: int(len(data) * share)])
    assert 0.2 < sampled.seconds < 4 * (share + 0.1)
    assert sampled.frames[-1].seconds > 0.8 * sampled.seconds
    assert len(sampled.frames) >= 7


PLAYLISTS = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile {}\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("ending", ["m3u8", "mp4"])
def test_a_playlist_opens_no_other_file(kind: str, ending: str, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(video(steps(5)))
    playlist = tmp_path / f"list.{ending}"
    for target in ("a.mp4", str(tmp_path / "a.mp4"), f"file:{tmp_path}/a.mp4", "http://localhost:9/a.mp4"):
        playlist.write_text(PLAYLISTS[kind].format(target))
        with pytest.raises(MediaError, match="cannot be read as a video"):
            sample(playlist)


REFUSED: dict[str, tuple[bytes, str]] = {
    "PNG": (saved(noise(30, 20)), r"still picture \(png\)"),
    "JPEG": (saved(noise(30, 20), "JPEG"), "still picture"),
    "GIF of one frame": (saved(noise(30, 20), "GIF"), r"still picture \(gif\)"),
    "sound alone": (sound(), "only sound"),
    "empty": (b"", "is empty"),
    "text": (b"not a video at all, not by any means", "Invalid data"),
    "header alone": (video(steps(5))[:40], "Invalid data|no frames|no pictures"),
    "without its index": (video(steps(30))[:-300], "Invalid data|no pictures|End of file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_are_not_videos_are_refused(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data, reason = REFUSED[name]
    path = tmp_path / "video.mp4"
    path.write_bytes(data)
    for source in (path, data):
        with pytest.raises(MediaError, match=reason) as refused:
            sample(source)
        message = str(refused.value)
        assert message.startswith(str(path) if source is path else "video in memory")
        assert "\n" not in message
    assert capfd.readouterr() == ("", "")


def test_invalid_sources_are_refused(tmp_path: Path) -> None:
    wrong: Any = 3
    for source, reason in [
        (tmp_path / "missing.mp4", "No such file"),
        (tmp_path, "is a folder"),
        ("a\0b.mp4", "null"),
        (wrong, "expected a path or bytes, not int"),
    ]:
        with pytest.raises(MediaError, match=reason):
            sample(source)


def test_an_animation_is_a_video() -> None:
    frames = [halves(), halves(BLUE, RED)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=200)
    assert len(sample(data, 2).frames) == 2


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [
        ("MAX_SECONDS", 1.0, "2 s long, the limit is 1 s"),
        ("MAX_PACKETS", 5, "more than 5 frames"),
        ("MAX_FRAME_PIXELS", 1000, "Invalid|frame|limit"),
        ("TIME_LIMIT", 0.0, "takes longer to read than 0 s"),
    ],
)
def test_limits_are_enforced(limit: str, value: float, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = video(steps(20))
    assert len(sample(data).frames) == 8
    monkeypatch.setattr(video_module, limit, value)
    with pytest.raises(MediaError, match=reason):
        sample(data)


WHOLE_FILE = {form: video(steps(12), form=form, codec="mpeg4") for form in ("mp4", "matroska", "avi")}


@given(data=st.binary(max_size=200), form=st.sampled_from(sorted(WHOLE_FILE)), share=st.floats(0, 1))
@settings(max_examples=150)
def test_damaged_videos_are_sampled_or_refused(data: bytes, form: str, share: float) -> None:
    whole = WHOLE_FILE[form]
    at = int(share * len(whole))
    try:
        sampled = sample(whole[:at] + data + whole[at + len(data) :])
    except MediaError:
        return
    assert all(frame.image.mode == "RGB" for frame in sampled.frames)


@st.composite
def timelines(draw: st.DrawFn) -> Timeline:
    count = draw(st.integers(1, 60))
    shown_at = np.cumsum(draw(st.lists(st.floats(0.01, 3), min_size=count, max_size=count)))
    order = np.arange(count) + draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    seconds = (shown_at - shown_at[0])[np.argsort(order, kind="stable")]
    keys = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    return Timeline(seconds, keys, float(seconds.max()) + 0.04)


@given(timeline=timelines(), count=st.integers(1, 30), is_wide=st.booleans())
def test_runs_cover_every_frame_request(timeline: Timeline, count: int, is_wide: bool) -> None:
    requests = choose_frames(timeline, count)
    edges = np.linspace(0, timeline.end, count + 1)
    filled = set(np.minimum(np.searchsorted(edges, timeline.seconds, side="right") - 1, count - 1).tolist())
    assert len(requests) == len(filled)
    assert all(request.since < request.until for request in requests)
    if is_wide:
        requests = widen_requests(timeline, requests, count)
    parts = list(decode_runs(timeline, requests))
    assert sorted((w for run in parts for w in run.requests), key=lambda w: w.until) == requests
    assert all(before.last < after.first for before, after in pairwise(parts))
    for run in parts:
        assert run.first == 0 or timeline.keys[run.first]
        assert run.first <= run.last == max(request.packet for request in run.requests)
        for request in run.requests:
            assert run.first == 0 or timeline.seconds[run.first] <= request.since


def test_only_keyframes_are_decoded_where_possible() -> None:
    timeline = Timeline(np.arange(80) / 10, np.arange(80) % 10 == 3, 8.0)
    assert [(run.first, run.last) for run in decode_runs(timeline, choose_frames(timeline, 8))] == [
        (at, at) for at in range(3, 80, 10)
    ]


@given(seconds=st.floats(0.01, 4 * 3600), dropped=st.sets(st.integers(0, 511)))
def test_segments_lie_at_fixed_times(seconds: float, dropped: set[int]) -> None:
    count = frame_count(seconds)
    assert 8 <= count <= 512
    at = [seconds * (n + 0.5) / count for n in range(count) if n not in dropped] or [seconds / 2]
    starts = segment_starts(at, seconds)
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    if not dropped:
        assert len(starts) <= seconds / 10 + 1
    if seconds <= 10:
        assert starts == [0]
    number = np.searchsorted(starts, at, side="right") - 1
    assert_array_equal(np.unique(number), range(len(starts)))


@pytest.fixture(scope="module")
def frames_encoder() -> VideoFrameEncoder:
    loaded = encoder("frames")
    assert isinstance(loaded, VideoFrameEncoder)
    return loaded


def test_rows_are_means_of_image_encoder_rows(frames_encoder: VideoFrameEncoder) -> None:
    lite0 = encoder("efficientnet-lite0")
    long = video([noise(64, 48, number) for number in range(24)], rate=1)
    short = video([noise(64, 48, number) for number in range(3)])
    prepared = [frames_encoder.prepare(short), frames_encoder.prepare(long), frames_encoder.prepare(short)]
    spans = [frames_encoder.spans(one) for one in prepared]
    assert list(spans[0]) == [Span()]
    assert list(spans[1]) == [Span(), Span(0.0, 10.0), Span(10.0, 20.0), Span(20.0, 24.0)]
    rows = frames_encoder.encode(prepared)
    assert len(rows) == sum(map(len, spans))
    features = lite0.encode(
        [lite0.prepare(frame.image) for frame in sample_frames(long, side=256, windows=frame_count).frames]
    )
    scale = 1e-5 * float(np.abs(features).max())
    assert_allclose(rows[1], features.mean(0), atol=scale)
    assert_allclose(
        rows[2:5], [features[at].mean(0) for at in (slice(0, 4), slice(4, 8), slice(8, 10))], atol=scale
    )
    assert_allclose(rows[0], rows[5], atol=scale)
    head, own = lite0.class_head(), frames_encoder.class_head()
    assert head is not None
    assert own is not None
    assert_array_equal(head.weights, own.weights)


def test_one_image_encoder_serves_both_modalities() -> None:
    image = registry.load("efficientnet-lite0", Modality.IMAGE, "cpu")
    named = registry.load("frames:efficientnet-lite0", Modality.VIDEO, "cpu")
    plain = registry.load("frames", Modality.VIDEO, "cpu")
    assert image is registry.load("efficientnet-lite0", Modality.IMAGE, "cpu")
    assert isinstance(named, VideoFrameEncoder)
    assert named._image is image
    assert named.spec == plain.spec
    assert named.spec.name == "frames:efficientnet-lite0"
    with pytest.raises(OptionError, match="text, not image"):
        registry.load("frames:minilm", Modality.VIDEO, "cpu")


@pytest.mark.parametrize("path", iscc_samples.videos(), ids=lambda path: path.name)
def test_sample_videos_are_read(path: Path) -> None:
    sampled = sample_frames(path, side=256, windows=frame_count)
    assert sampled.seconds == pytest.approx(5 if path.suffix == ".gif" else 60, abs=0.2)
    assert len(sampled.frames) == frame_count(sampled.seconds)


@pytest.mark.parametrize("path", iscc_samples.audios(), ids=lambda path: path.name)
def test_sample_audio_files_are_refused(path: Path) -> None:
    with pytest.raises(MediaError, match="only sound"):
        sample_frames(path, side=256, windows=frame_count)


@pytest.fixture(scope="module")
def spoken_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for digit in (0, 7):
        for speaker in ("theo", "lucas"):
            for take in (3, 34, 35):
                (folder / f"{digit}_{speaker}_{take}.wav").write_bytes(b"RIFF %d" % take)
    (folder / "readme.wav").touch()
    return folder


def make(out: Path, recordings: Path, *options: str) -> subprocess.CompletedProcess[str]:
    program = ROOT / "scripts" / "make_spoken_digits_video.py"
    command = [sys.executable, str(program), str(out), "--recordings", str(recordings), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_spoken_digits_script_writes_videos_and_manifest(spoken_digits: Path, tmp_path: Path) -> None:
    done = make(tmp_path / "a", spoken_digits)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "12 of 12 videos" in done.stderr
    with (tmp_path / "a" / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "audio", "video", "caption", "digit", "speaker", "split"]
    assert len(rows) == 12
    for row in rows:
        digit, speaker, take = row["id"].split("_")
        assert (row["digit"], row["speaker"]) == (digit, speaker)
        assert row["split"] == ("test" if int(take) >= 35 else "train")
        assert row["caption"] == {"0": "the digit zero", "7": "the digit seven"}[digit]
        assert (tmp_path / "a" / row["audio"]).read_bytes() == b"RIFF %d" % int(take)
        sampled = sample(tmp_path / "a" / row["video"])
        assert 1 <= sampled.seconds <= 2.01
        pictures = [np.asarray(frame.image) for frame in sampled.frames]
        assert len(pictures) == 8
        assert all(0.05 < (one > 128).mean() < 0.5 for one in pictures)
        assert not np.array_equal(pictures[0], pictures[-1])
    make(tmp_path / "b", spoken_digits)
    make(tmp_path / "c", spoken_digits, "--seed", "1")
    first, again, other = (
        {path.name: path.read_bytes() for path in (tmp_path / name / "video").iterdir()} for name in "abc"
    )
    assert first == again
    assert all(first[name] != other[name] for name in first)


def test_no_digit_picture_is_shared_between_splits(
    spoken_digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import make_spoken_digits_video as script

    found = script.recordings(spoken_digits)
    owners: dict[bytes, set[tuple[str, str]]] = {}
    for one, ink in zip(found, script.handwriting(found, 0), strict=True):
        owners.setdefault(ink.tobytes(), set()).add((one.speaker, one.split))
    assert len(owners) == len(found)
    assert all(len(cells) == 1 for cells in owners.values())


def test_missing_recordings_are_an_error(tmp_path: Path) -> None:
    done = make(tmp_path / "out", tmp_path)
    assert done.returncode == 2
    assert "give --recordings" in done.stderr
