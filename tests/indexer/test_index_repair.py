"""A repair rebuilds what is damaged or reports it as lost; a repaired index gives the same results as before."""

import json
import shutil

import numpy as np
import pytest

import indexer
import retrieval
from indexer.cli.main import run
from retrieval.encoders.base import Span
from retrieval.errors import DamagedIndexError, EncoderMismatchError, IndexBusyError, XmodalError
from retrieval.storage.damage import Remedy
from retrieval.storage.feature_store import FeatureStore
from retrieval.storage.layout import Layout
from retrieval.storage.manifest import Manifest
from retrieval.types import Modality
from tests.helpers import damaged, toy


@pytest.fixture
def index(tmp_path, encoders):
    made = damaged.build(tmp_path)
    for encoder in encoders.values():
        encoder.encoded = 0
    return made


@pytest.fixture
def answers(index, encoders):
    found = damaged.answers(index)
    for encoder in encoders.values():
        encoder.encoded = 0
    return found


@pytest.fixture
def afresh(index, answers, tmp_path, encoders):
    """Results of an index built from the same sources at once; its alignment was fitted on all of them."""
    indexer.build([index.parent / "source"], out=tmp_path / "afresh", preset="toy")
    found = damaged.answers(tmp_path / "afresh")
    for encoder in encoders.values():
        encoder.encoded = 0
    return found


@pytest.fixture
def source(index):
    return index.parent / "source"


def features(index, modality):
    return next((index / "features").glob(f"{modality}-*"))


def encoded(encoders):
    return encoders[Modality.TEXT].encoded, encoders[Modality.IMAGE].encoded


def lost(done):
    return [(damage.path, damage.remedy) for damage in done.after.damages]


def test_an_undamaged_index_is_not_changed(index, encoders):
    before = {name: (index / name).read_bytes() for name in damaged.files(index)}
    done = indexer.repair(index)
    assert (done.repaired, done.after.is_whole, encoded(encoders)) == ([], True, (0, 0))
    assert {name: (index / name).read_bytes() for name in damaged.files(index)} == before


@pytest.mark.parametrize("name", ["image.faiss", "text.faiss", "image.assets.npy", "image.centre.npy"])
@pytest.mark.parametrize("manner", ["flipped", "missing", "empty"])
def test_vectors_are_rebuilt_from_the_features(index, answers, encoders, name, manner):
    path = index / "generations/000002" / name
    if manner == "flipped":
        damaged.flip(path, 8 * path.stat().st_size - 8)
    elif manner == "missing":
        path.unlink()
    else:
        path.write_bytes(b"")
    done = indexer.repair(index)
    assert (lost(done), done.encoded, encoded(encoders)) == ([], 0, (0, 0))
    assert damaged.answers(index) == answers
    assert sorted(path.name for path in (index / "generations").iterdir()) == ["000003"]
    assert retrieval.verify(index).strays == []


@pytest.mark.parametrize("name", ["manifest.json", "alignment.safetensors", "catalog.sqlite"])
def test_files_that_cannot_be_rebuilt_are_restored_from_their_copy(index, answers, name):
    files = Layout(index).generation(2)
    copies = [files.folder / name, files.copy_of(files.folder / name)]
    if name == "manifest.json":
        copies = [index / name, files.manifest]
    before = copies[0].read_bytes()
    assert copies[1].read_bytes() == before
    for copy in copies:
        damaged.flip(copy, 4000)
        assert [damage.path for damage in indexer.repair(index).repaired] == [
            copy.relative_to(index).as_posix()
        ]
        copy.unlink()
        done = indexer.repair(index)
        assert (lost(done), done.encoded, done.after.manifest.generation) == ([], 0, 2)
        assert [copy.read_bytes() for copy in copies] == [before] * 2
    assert damaged.answers(index) == answers


def test_an_alignment_whose_copies_are_both_damaged_is_fitted_again(index):
    for path in index.rglob("000002/**/alignment.safetensors"):
        damaged.flip(path, 9999)
    done = indexer.repair(index)
    assert (lost(done), done.encoded, done.after.manifest.generation) == ([], 0, 3)
    assert retrieval.open(index).text_to_image("red", k=1)[0].id == "red"


@pytest.mark.parametrize(("name", "bit"), [("rows.f32", 100), ("contents.bin", 600), ("contents.bin", 1016)])
@pytest.mark.parametrize("modality", ["text", "image"])
def test_one_damaged_row_is_encoded_again_alone(index, answers, encoders, modality, name, bit):
    damaged.flip(features(index, modality) / name, bit)
    before = retrieval.verify(index).damages
    done = indexer.repair(index)
    assert [damage.remedy for damage in done.repaired] == [Remedy.ENCODE]
    assert len(before[0].rows) == len(before[0].items) == done.encoded == sum(encoded(encoders)) == 1
    assert (lost(done), done.after.manifest.generation) == ([], 2)
    assert damaged.answers(index) == answers
    assert indexer.realign(index, align="conse").generation == 3


def test_missing_features_are_encoded_again_into_the_same_rows(index, answers, encoders, source):
    before = {
        name: (index / name).read_bytes()
        for name in damaged.files(index)
        if name.startswith("features/image")
    }
    shutil.rmtree(index / "features")
    done = indexer.repair(index)
    assert (lost(done), done.encoded) == ([], 21)
    assert {name: (index / name).read_bytes() for name in before} == before
    for encoder in encoders.values():
        encoder.encoded = 0
    assert indexer.build([source], out=index).encoded == 0
    assert damaged.answers(index) == answers


def test_captions_are_encoded_from_the_catalog_and_pictures_from_the_sources(
    index, answers, source, encoders
):
    source.rename(source.with_name("away"))
    for modality in ("text", "image"):
        damaged.flip(features(index, modality) / "rows.f32", 100)
    damaged.flip(index / "generations/000002/text.faiss", 1000)
    done = indexer.repair(index)
    folder = f"features/{features(index, 'image').name}"
    assert lost(done) == [("generations/000002/text.faiss", Remedy.REBUILD), (folder, Remedy.ENCODE)]
    assert (done.after.damages[1].items, encoded(encoders)) == (("blue",), (1, 0))
    with pytest.raises(DamagedIndexError, match="not stored: run 'xmodal repair'"):
        indexer.realign(index, align="conse")
    source.with_name("away").rename(source)
    assert lost(indexer.repair(index)) == []
    assert encoded(encoders) == (1, 1)
    assert damaged.answers(index) == answers


def test_a_job_with_the_sources_restores_what_a_repair_reports_as_lost(index, afresh, source, encoders):
    source.rename(source.with_name("away"))
    damaged.flip(features(index, "image") / "rows.f32", 100)
    assert len(lost(indexer.repair(index))) == 1
    source.with_name("away").rename(source)
    summary = indexer.build([source], out=index)
    assert (summary.encoded, summary.generation) == (1, 3)
    assert lost(indexer.repair(index)) == []
    assert damaged.answers(index) == afresh


def test_a_changed_file_does_not_replace_lost_features(index, source):
    damaged.flip(features(index, "image") / "rows.f32", 100)
    toy.paint(source / "blue.png", (0, 0, 250))
    assert [remedy for _, remedy in lost(indexer.repair(index))] == [Remedy.ENCODE]


@pytest.mark.parametrize("manner", ["flipped", "missing"])
def test_a_lost_catalog_is_reported_and_rebuilt_from_the_sources(
    index, afresh, source, capsys, manner, encoders
):
    for path in index.rglob("000002/**/catalog.sqlite"):
        damaged.flip(path, 99_999) if manner == "flipped" else path.unlink()
    damaged.flip(features(index, "image") / "rows.f32", 100)
    assert run(["repair", str(index)]) == 1
    out = capsys.readouterr().out
    assert "lost      generations/000002/catalog.sqlite" in out
    assert f"xmodal index {source} --out {index} makes it again" in out
    with pytest.raises(DamagedIndexError, match=r"do not match their checksum: .* to rebuild it"):
        indexer.realign(index)
    summary = indexer.build([source], out=index)
    assert (summary.items, summary.encoded) == (11, 1)
    assert retrieval.verify(index).is_whole
    assert damaged.answers(index) == afresh


def test_a_lost_manifest_is_renamed_and_replaced(index, afresh, source, capsys, encoders):
    for path in index.rglob("manifest.json"):
        damaged.flip(path, 4000)
    assert run(["index", str(source), "--out", str(index), "--preset", "toy"]) == 1
    assert "run 'xmodal repair'" in capsys.readouterr().err
    assert run(["verify", str(index)]) == 1
    assert f"repair {index} sets it aside, then xmodal index SOURCE..." in capsys.readouterr().out
    assert run(["repair", str(index), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["lost"][0]["path"] == "manifest.json"
    assert str(source) in (index / "manifest.json.damaged").read_text()
    summary = indexer.build([source], out=index, preset="toy")
    assert (summary.encoded, summary.generation) == (0, 1)
    assert damaged.answers(index) == afresh
    assert retrieval.verify(index).is_whole


def test_files_of_a_damaged_old_generation_are_removed(index, answers):
    damaged.flip(index / "generations/000001/image.faiss", 5)
    done = indexer.repair(index)
    assert [damage.remedy for damage in done.repaired] == [Remedy.DROP]
    assert not (index / "generations/000001").exists()
    assert (lost(done), damaged.answers(index)) == ([], answers)


def test_damaged_rows_without_an_item_are_marked_unused(index, answers, encoders, source):
    text = features(index, "text")
    size = (text / "rows.f32").stat().st_size
    damaged.flip(
        text / "rows.f32", 8 * size // 2 + 40
    )  # the row of a class name: these follow the first job's captions
    done = indexer.repair(index)
    assert ([damage.remedy for damage in done.repaired], encoded(encoders)) == ([Remedy.DROP], (0, 0))
    assert lost(done) == []
    assert indexer.realign(index, align="conse").generation == 3
    assert encoded(encoders) == (1, 0)


def test_a_repair_whose_rebuild_fails_restores_the_file_names(index, encoders):
    path = index / "generations/000002/image.faiss"
    damaged.flip(path, 1000)
    before = path.read_bytes()
    with toy.encoders(weights="other"), pytest.raises(EncoderMismatchError):
        indexer.repair(index)
    assert path.read_bytes() == before
    assert retrieval.verify(index).strays == []


def test_every_bit_is_repaired(index, answers, tmp_path):
    for name in damaged.files(index):
        for bit in damaged.bits(index / name, 1):
            one = damaged.copy(index, tmp_path / "copy")
            damaged.flip(one / name, bit)
            done = indexer.repair(one)
            assert (len(done.before.damages), lost(done)) == (1, []), (name, bit)
            assert damaged.answers(one) == answers
            shutil.rmtree(one)


def test_a_job_repairs_the_damage_that_it_finds(index, answers, source):
    (index / "generations/000002/image.faiss").unlink()
    assert indexer.build([source], out=index).generation == 3
    damaged.flip(index / "generations/000003/alignment.safetensors", 9999)
    damaged.flip(index / "generations/000003/catalog.sqlite", 9999)
    toy.paint(source / "late.png", "red")
    assert indexer.build([source], out=index).generation == 4
    assert retrieval.verify(index).is_whole
    (source / "late.png").unlink()
    indexer.build([source], out=index)
    assert damaged.answers(index) == answers


def test_two_writers_are_refused(index):
    from filelock import FileLock

    with FileLock(index / "lock"), pytest.raises(IndexBusyError):
        indexer.repair(index)


def test_all_rows_of_a_long_clip_are_encoded_again_together(tmp_path, encoders, monkeypatch):
    image = encoders[Modality.IMAGE]
    spans = [Span(), Span(0, 5), Span(5, 8)]
    encode = image.encode
    monkeypatch.setattr(image, "spans", lambda _: spans)
    monkeypatch.setattr(image, "encode", lambda prepared: encode([row for row in prepared for _ in spans]))
    index = damaged.build(tmp_path)
    answers = damaged.answers(index)
    entry = Manifest.read(index).features[features(index, "image").name]
    assert entry == {"dimension": 3, "rows": 33}
    damaged.flip(
        features(index, "image") / "contents.bin", 8 * 64 * 4
    )  # the second row of the second picture
    store = FeatureStore(features(index, "image"), 3)
    assert len(store.contents()) == 10
    done = indexer.repair(index)
    assert (lost(done), done.encoded) == ([], 1)
    assert store.spans(range(3, 6)) == spans
    assert len(store.contents()) == 11
    assert damaged.answers(index) == answers


def test_rows_reused_by_another_content_are_not_overwritten(index, source):
    folder = features(index, "image")
    store = FeatureStore(folder, 3)
    rows = store.read(np.arange(11))
    shutil.rmtree(folder)
    FeatureStore(folder, 3).append(["ab" * 32], [[Span()]], rows[:1])  # left by a killed job
    done = indexer.repair(index)
    assert [remedy for _, remedy in lost(done)] == [Remedy.ENCODE]
    assert done.encoded == 10
    assert FeatureStore(folder, 3).contents()["ab" * 32] == range(1)
    assert indexer.build([source], out=index).encoded == 1
    assert retrieval.verify(index).is_whole


def test_the_layout_lists_its_generations(index):
    (index / "generations/draft").mkdir()
    assert Layout(index).numbered() == [1, 2]
    with pytest.raises(XmodalError):
        Manifest.load(index / "generations/draft/manifest.json")
