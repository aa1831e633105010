"""The job with toy encoders: what is encoded, reused, removed and published."""

import json
import shutil
import threading

import pytest
from filelock import FileLock

import indexer
import retrieval
from indexer.publishing.draft import writing
from retrieval.alignment.methods import registry
from retrieval.alignment.methods.registry import Method
from retrieval.errors import (
    EncoderMismatchError,
    ExpressionError,
    IndexBusyError,
    IndexFormatError,
    NotAnIndexError,
    OptionError,
    SourceError,
)
from retrieval.storage.layout import Layout
from retrieval.storage.manifest import FORMAT, Manifest
from retrieval.types import Modality
from tests.helpers import toy


def build(source, out, **options):
    return indexer.build([source], out=out, preset="toy", **options)


def counted(encoders):
    """Return the numbers of captions and pictures encoded since the last call, without class names."""
    counts = {modality: encoder.encoded for modality, encoder in encoders.items()}
    for encoder in encoders.values():
        encoder.encoded = 0
    return counts[Modality.TEXT], counts[Modality.IMAGE]


def vectors(out):
    engine = retrieval.open(out)
    found = {}
    for modality in engine.modalities:
        modality_index = engine.index.modality_index(modality)
        records = engine.index.catalog.records(modality_index.assets)
        for asset, vector in zip(modality_index.assets.tolist(), modality_index.index.vectors(), strict=True):
            found[records[asset].item, modality, records[asset].text] = vector.tolist()
    return found


def test_every_colour_is_found_by_text_and_by_picture(source, out):
    summary = build(source, out)
    assert (summary.items, summary.assets, summary.failed) == (10, {"text": 10, "image": 10}, 0)
    engine = retrieval.open(out)
    for name in toy.COLOURS:
        hit = engine.text_to_image(f"It is {name}.", k=3)[0]
        assert (hit.rank, hit.id, hit.modality, hit.path) == (1, name, "image", f"{name}.png")
        assert engine.image_to_text(source / f"{name}.png", k=1)[0].text == f"Something {name}."


def test_a_second_run_encodes_and_publishes_nothing(source, out, encoders):
    first = build(source, out)
    before = (out / "manifest.json").read_bytes()
    counted(encoders)
    second = indexer.build([source], out=out)
    assert counted(encoders) == (0, 0)
    assert (second.encoded, second.reused, second.removed) == (0, 20, 0)
    assert second.generation == first.generation == 1
    assert (out / "manifest.json").read_bytes() == before


def test_only_new_and_changed_content_is_encoded_and_missing_content_is_removed(source, out, encoders):
    build(source, out)
    counted(encoders)
    toy.paint(source / "more/brown.png", (128, 64, 0))
    toy.paint(source / "red.png", (250, 0, 0))
    (source / "green.txt").write_text("Something green.\nSomething grassy.\n", encoding="utf-8")
    (source / "black.png").unlink()
    summary = build(source, out)
    assert counted(encoders) == (1, 2)
    assert (summary.encoded, summary.removed, summary.generation) == (3, 1, 2)
    assert summary.assets == {"text": 11, "image": 10}
    engine = retrieval.open(out)
    assert "black" not in {hit.id for hit in engine.text_to_image("black", k=20)}
    assert "more/brown" in {hit.id for hit in engine.text_to_image("black", k=20)}


def test_a_renamed_or_copied_file_is_not_encoded_again(source, out, encoders):
    build(source, out)
    counted(encoders)
    (source / "red.png").rename(source / "crimson.png")
    shutil.copy(source / "blue.png", source / "azure.png")
    (source / "white.png").touch()
    build(source, out)
    assert counted(encoders) == (0, 0)
    hits = retrieval.open(out).text_to_image("blue", k=2)
    assert [hit.id for hit in hits] == ["azure", "blue"]
    assert hits[0].score == hits[1].score


def test_an_updated_index_equals_one_built_at_once(source, out, tmp_path):
    later = [source / f"{name}{ending}" for name in ("pink", "orange") for ending in (".png", ".txt")]
    for path in later:
        path.rename(tmp_path / path.name)
    build(source, out)
    for path in later:
        (tmp_path / path.name).rename(path)
    build(source, out)
    build(source, tmp_path / "at-once")
    assert vectors(out) == vectors(tmp_path / "at-once")


@pytest.mark.parametrize("at", range(0, 10, 3))
def test_a_bad_file_fails_alone_in_its_batch(source, out, at, encoders):
    name = sorted(toy.COLOURS)[at]
    (source / f"{name}.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    summary = build(source, out, batch_size=2)
    assert (summary.failed, summary.assets) == (1, {"text": 10, "image": 9})
    assert summary.failures[0]["path"] == f"{name}.png"
    engine = retrieval.open(out)
    for other in toy.COLOURS:
        if other != name:
            assert engine.text_to_image(other, k=1)[0].id == other
    failure = engine.index.catalog.failures()[0]
    assert (failure.path, failure.stage, failure.source) == (f"{name}.png", "decode", 0)


def test_failed_files_are_tried_again_when_they_change_or_on_request(source, out, encoders):
    (source / "red.png").write_bytes(b"nonsense")
    build(source, out)
    again = build(source, out)
    assert (again.failed, again.generation) == (1, 1)
    assert build(source, out, retry_failed=True).failed == 1
    toy.paint(source / "red.png", "red")
    mended = build(source, out)
    assert (mended.failed, mended.encoded, mended.generation) == (0, 1, 2)


def test_batch_size_and_workers_do_not_change_the_vectors(source, out, tmp_path):
    build(source, out, batch_size=1, workers=1)
    build(source, tmp_path / "other", batch_size=7, workers=5)
    assert vectors(out) == vectors(tmp_path / "other")


def test_the_index_can_be_moved(source, out, tmp_path):
    build(source, out)
    expected = retrieval.open(out).text_to_image("red", k=10)
    moved = tmp_path / "elsewhere" / "moved"
    moved.parent.mkdir()
    out.rename(moved)
    shutil.rmtree(source)
    assert retrieval.open(moved).text_to_image("red", k=10) == expected


def test_held_out_items_are_searchable_but_never_fitted_on(source, out):
    build(source, out, holdout=0.4, seed=3)
    engine = retrieval.open(out)
    table = engine.index.catalog.table(Modality.IMAGE)
    assert 0 < table.held_out.sum() < 10
    assert len(engine.text_to_image("red", k=20)) == 10
    before = engine.manifest.alignment
    held = engine.index.catalog.records(table.assets[table.held_out])
    for record in held.values():
        (source / f"{record.item}.txt").write_text("Something else.", encoding="utf-8")
    build(source, out)
    after = retrieval.open(out).manifest.alignment
    assert after["fingerprint"] == before["fingerprint"]


def test_a_holdout_is_stable_when_items_come_and_go(source, out):
    def held():
        table = (engine := retrieval.open(out)).index.catalog.table(Modality.IMAGE)
        records = engine.index.catalog.records(table.assets)
        return {
            records[a].item: h for a, h in zip(table.assets.tolist(), table.held_out.tolist(), strict=True)
        }

    build(source, out, holdout="0.5", seed=1)
    before = held()
    for number in range(20):
        toy.paint(source / f"new/{number}.png", (number, 0, 0))
    build(source, out)
    after = held()
    assert {key: after[key] for key in before} == before
    assert retrieval.open(out).manifest.settings["holdout"] == 0.5


def test_a_holdout_can_be_an_expression_over_metadata(source, out, tmp_path):
    rows = [f"{name},{name}.png,Something {name}.,{len(name)}" for name in toy.COLOURS]
    (source / "m.csv").write_text("id,image,caption,letters\n" + "\n".join(rows), encoding="utf-8")
    build(source / "m.csv", out, holdout="letters > 5 or letters = 3")
    table = (engine := retrieval.open(out)).index.catalog.table(Modality.IMAGE)
    records = engine.index.catalog.records(table.assets[table.held_out])
    assert {record.item for record in records.values()} == {"red", "yellow", "purple", "turquoise", "orange"}
    with pytest.raises(ExpressionError, match="color"):
        build(source / "m.csv", out, holdout="color = 'red'")


def test_realigning_encodes_nothing(source, out, encoders):
    build(source, out)
    counted(encoders)
    manifest = indexer.realign(out, align="conse")
    assert counted(encoders) == (0, 0)
    assert (manifest.generation, manifest.alignment["method"]) == (2, "conse")
    assert retrieval.open(out).text_to_image("red", k=1)[0].id == "red"
    assert indexer.realign(out).generation == 2
    assert indexer.realign(out, holdout=0.3).settings["holdout"] == 0.3


def test_an_alignment_of_an_older_method_revision_is_fitted_again_once(source, out, encoders, monkeypatch):
    known = registry.METHODS
    monkeypatch.setattr(registry, "METHODS", {**known, "auto": Method(known["cca"].fit, "")})
    build(source, out)
    before = Manifest.read(out).alignment
    assert before["revision"] == 1
    monkeypatch.setattr(registry, "METHODS", known)
    counted(encoders)
    assert build(source, out).generation == 2
    after = Manifest.read(out).alignment
    assert (after["revision"], counted(encoders)) == (known["auto"].revision, (0, 0))
    assert after["evidence"] != before["evidence"]
    assert after["fingerprint"] != before["fingerprint"]
    assert (build(source, out).generation, indexer.realign(out).generation) == (2, 2)


def test_a_reader_keeps_its_generation(source, out):
    build(source, out)
    reader = retrieval.open(out)
    shutil.rmtree(source / "red.png", ignore_errors=True)
    (source / "red.png").unlink()
    build(source, out)
    assert reader.text_to_image("red", k=1)[0].id == "red"
    assert retrieval.open(out).text_to_image("red", k=1)[0].id != "red"


def test_an_interrupted_job_publishes_nothing_and_keeps_encoded_features(source, out, encoders, monkeypatch):
    image = encoders[Modality.IMAGE]
    encode = image.encode

    def failing(prepared):
        if image.encoded >= 6:
            raise KeyboardInterrupt
        return encode(prepared)

    monkeypatch.setattr(image, "encode", failing)
    with pytest.raises(KeyboardInterrupt):
        build(source, out, batch_size=3)
    with pytest.raises(NotAnIndexError):
        retrieval.open(out)
    monkeypatch.undo()
    counted(encoders)
    assert build(source, out, batch_size=3).assets == {"text": 10, "image": 10}
    assert counted(encoders)[1] == 4


def test_two_writers_at_once_are_refused(source, out):
    build(source, out)
    taken, leave = threading.Event(), threading.Event()

    def hold():
        with FileLock(Layout(out).lock):
            taken.set()
            leave.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(30)
    try:
        with pytest.raises(IndexBusyError, match="another job is writing"):
            build(source, out)
    finally:
        leave.set()
        thread.join()


def test_one_old_generation_is_kept(source, out):
    for number in range(4):
        toy.paint(source / "red.png", (200 + number, 0, 0))
        build(source, out)
    assert sorted(path.name for path in (out / "generations").iterdir()) == ["000003", "000004"]


def test_a_different_encoder_is_refused_by_a_reader_and_rebuilt_by_a_writer(source, out):
    build(source, out)
    with toy.encoders(weights="other"):
        with pytest.raises(EncoderMismatchError, match=r"toy-text .* differ in weights"):
            retrieval.open(out).text_to_image("red")
        assert build(source, out).encoded == 20
    with pytest.raises(EncoderMismatchError, match=r"toy-image .* not minilm"):
        retrieval.open(out, encoders={"image": "minilm"})


def test_pictures_alone_and_captions_alone_can_be_indexed(tmp_path, encoders):
    pictures = toy.folder(tmp_path / "pictures", captions=False)
    build(pictures, tmp_path / "a")
    engine = retrieval.open(tmp_path / "a")
    assert engine.text_to_image("red", k=1)[0].id == "red"
    assert engine.search(text="blue", k=1)[0].id == "blue"
    (tmp_path / "captions").mkdir()
    for name in toy.COLOURS:
        (tmp_path / f"captions/{name}.txt").write_text(name, encoding="utf-8")
    build(tmp_path / "captions", tmp_path / "b")
    assert retrieval.open(tmp_path / "b").text_to_text("red", k=1)[0].text == "red"


def test_files_without_an_encoder_are_counted(source, out):
    (source / "red.ogg").write_bytes(b"")
    (source / "sound.wav").write_bytes(b"")
    summary = build(source, out)
    assert (summary.skipped, summary.items) == ({"audio": 2}, 10)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"preset": "huge"}, OptionError, "unknown preset 'huge': expected one of packaged"),
        ({"encoders": {"smell": "nose"}}, OptionError, "unknown modality 'smell'"),
        ({"encoders": {"text": "nose"}}, OptionError, "'nose'"),
        ({"align": "magic"}, OptionError, "'magic'"),
        ({"index": "magic"}, OptionError, "unknown index 'magic'"),
        ({"holdout": 1.5}, OptionError, "holdout must be a fraction"),
        ({"holdout": "x ="}, ExpressionError, "character 4: expected"),
        ({"seed": -1}, OptionError, "seed must be"),
        ({"batch_size": 0}, OptionError, "batch_size must be at least 1"),
        ({"workers": 0}, OptionError, "workers must be at least 1"),
        ({"device": "abacus"}, OptionError, "abacus"),
    ],
)
def test_unusable_options_are_refused_before_anything_is_written(source, out, options, error, message):
    with pytest.raises(error, match=message):
        indexer.build([source], out=out, **{"preset": "toy", **options})
    assert not (out / "manifest.json").exists()


def test_a_folder_with_other_files_is_refused(source, tmp_path):
    with pytest.raises(SourceError, match="holds other files"):
        build(source, source)
    with pytest.raises(NotAnIndexError, match="is a file"):
        build(source, source / "red.png")
    with pytest.raises(NotAnIndexError, match="is not an index"):
        indexer.realign(source)
    with pytest.raises(NotAnIndexError, match="does not exist"):
        retrieval.open(tmp_path / "nowhere")


def test_a_newer_format_is_refused(source, out):
    build(source, out)
    values = json.loads((out / "manifest.json").read_text())
    del values["checksum"]
    (out / "manifest.json").write_text(json.dumps({**values, "format": FORMAT + 1}))
    with pytest.raises(IndexFormatError, match="has format 4, this version reads up to 3: upgrade"):
        retrieval.open(out)


def test_a_manifest_is_unchanged_after_reading_and_writing(source, out):
    build(source, out)
    manifest = Manifest.read(out)
    manifest.write(out / "again.json")
    assert json.loads((out / "again.json").read_text()) == json.loads((out / "manifest.json").read_text())


def test_a_draft_is_always_removed(out):
    with pytest.raises(RuntimeError), writing(out):
        raise RuntimeError
    assert not Layout(out).generation(1).folder.exists()
    assert list((out / "generations").iterdir()) == []


def test_encoders_are_released_whether_an_alignment_is_fitted_or_kept(source, out, monkeypatch):
    released = []
    monkeypatch.setattr(
        toy.ToyEncoder, "release", lambda encoder: released.append(encoder.spec.modality), raising=False
    )
    indexer.build([source], out=out, preset="toy")
    assert set(released) == {Modality.TEXT, Modality.IMAGE}
    before = Manifest.read(out).alignment
    released.clear()
    toy.paint(source / "another.png", "red", (9, 9))
    indexer.build([source], out=out, preset="toy")
    assert Manifest.read(out).alignment == before
    assert set(released) == {Modality.TEXT, Modality.IMAGE}
