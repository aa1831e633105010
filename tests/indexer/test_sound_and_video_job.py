"""Sounds and videos through the whole job: whole media and segments, sound tracks and pictures."""

import shutil
from pathlib import Path

import iscc_samples
import pytest

import indexer
import retrieval
from retrieval.types import Modality
from tests.helpers import pictures, sounds, toy, videos


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    for number, clip in enumerate(videos.clips()[:2]):
        (root / f"clip{number}.mp4").write_bytes(clip)
    track = sounds.coded(sounds.melody(2, 16000, 9), 16000, form="mp4", codec="aac", pictures=True)
    (root / "spoken.mp4").write_bytes(track)
    for seed, seconds in enumerate((1.0, 2.0, 25.0)):
        (root / f"sound{seed}.wav").write_bytes(sounds.wav(sounds.melody(seconds, 8000, seed), 8000))
    return root


@pytest.fixture(scope="module")
def engine(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("index") / "index"
    summary = indexer.build([folder], out=out)
    assert (summary.items, summary.failed, summary.skipped) == (6, 0, {})
    assert indexer.build([folder], out=out).encoded == 0
    return retrieval.open(out)


def test_a_sound_of_any_length_finds_itself_once(engine, folder):
    hits = engine.audio_to_audio(folder / "sound2.wav", k=10)
    assert hits[0].id == "sound2"
    assert sorted(hit.id for hit in hits) == ["sound0", "sound1", "sound2", "spoken"]


def test_a_video_finds_itself(engine, folder):
    assert engine.video_to_video(folder / "clip1.mp4", k=1)[0].id == "clip1"


def test_a_long_sound_has_segments(engine):
    table = engine.index.table(Modality.AUDIO)
    records = engine.index.catalog.records(table.assets)
    spans = [(records[a].start, records[a].end) for a in table.assets.tolist() if records[a].item == "sound2"]
    assert spans[:2] == [(None, None), (0.0, 10.0)]
    assert table.whole.sum() == 4


def test_a_video_without_sound_is_not_a_failure(engine):
    assert set(engine.index.catalog.item_assets("clip0")) == {Modality.VIDEO}
    assert set(engine.index.catalog.item_assets("spoken")) == {Modality.VIDEO, Modality.AUDIO}


@pytest.fixture(scope="module")
def wild(tmp_path_factory):
    """Sounds and videos of every format in iscc-samples, and damaged versions of them."""
    root = tmp_path_factory.mktemp("wild")
    samples = [Path(path) for path in (*iscc_samples.audios(), *iscc_samples.videos())]
    for path in samples:
        # One folder each: files with the same stem are one item, which takes one sound and one video.
        (root / path.suffix[1:]).mkdir(exist_ok=True)
        shutil.copy(path, root / path.suffix[1:] / path.name)
    whole = next(path for path in samples if path.suffix == ".mp4").read_bytes()
    song = sounds.wav(sounds.melody(3, 16000), 16000)
    (root / "empty.mp4").touch()
    (root / "empty.wav").touch()
    (root / "cut.mp4").write_bytes(whole[: len(whole) // 3])
    (root / "cut.wav").write_bytes(song[: len(song) // 2])
    (root / "header.wav").write_bytes(song[:20])
    (root / "picture.mp4").write_bytes(pictures.saved(pictures.noise(40, 30)))
    (root / "words.ogg").write_text("no sound at all")
    (root / "silent.mp4").write_bytes(videos.video(videos.steps(20)))
    (root / "sound.mp4").write_bytes(videos.sound())
    return root


def test_every_real_world_file_is_indexed_or_fails_with_a_reason(wild, tmp_path):
    with toy.encoders():
        encoders = {
            "text": "toy-text",
            "image": "toy-image",
            "audio": "acoustic",
            "video": "frames:toy-image",
        }
        summary = indexer.build([wild], out=tmp_path / "index", encoders=encoders)
        catalog = retrieval.open(tmp_path / "index").index.catalog
    found = {
        record.path
        for modality in summary.assets
        for record in catalog.records(catalog.table(Modality(modality)).assets).values()
    }
    reasons = {failure.path: failure.reason for failure in catalog.failures()}
    files = {str(path.relative_to(wild)) for path in wild.rglob("*") if path.is_file()}
    assert files - set(summary.skipped) <= found | set(reasons)
    assert all(reasons.values())
    assert {path for path in files if path.startswith(("empty", "header", "words", "picture"))} <= set(
        reasons
    )
    assert {"silent.mp4", "cut.wav"} <= found
