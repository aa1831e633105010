"""Sounds and videos through the whole job: indexed, searched, segments told from wholes, tracks from pictures."""

import pytest

import indexer
import retrieval
from retrieval.types import Modality
from tests import sounds, videos


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
    encoders = {"audio": "acoustic", "video": "frames:efficientnet-lite0"}
    summary = indexer.build([folder], out=out, encoders=encoders)
    assert (summary.items, summary.failed, summary.skipped) == (6, 0, {})
    assert indexer.build([folder], out=out).encoded == 0
    return retrieval.open(out)


def test_a_sound_finds_itself_once_however_long_it_is(engine, folder):
    hits = engine.audio_to_audio(folder / "sound2.wav", k=10)
    assert hits[0].id == "sound2"
    assert sorted(hit.id for hit in hits) == ["sound0", "sound1", "sound2", "spoken"]


def test_a_video_finds_itself(engine, folder):
    assert engine.video_to_video(folder / "clip1.mp4", k=1)[0].id == "clip1"


def test_a_long_sound_has_segments(engine):
    table = engine.table(Modality.AUDIO)
    records = engine.catalog.records(table.assets)
    spans = [(records[a].start, records[a].end) for a in table.assets.tolist() if records[a].item == "sound2"]
    assert spans[:2] == [(None, None), (0.0, 10.0)]
    assert table.whole.sum() == 4


def test_a_video_without_sound_has_no_sound_and_fails_nothing(engine):
    assert set(engine.catalog.item_assets("clip0")) == {Modality.VIDEO}
    assert set(engine.catalog.item_assets("spoken")) == {Modality.VIDEO, Modality.AUDIO}
