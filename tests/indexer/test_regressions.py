"""Bugs that must not return: unusual paths, pipes, changed sources, interruptions."""

import os
import shutil

import pytest

import indexer
import retrieval
from indexer.cli.main import run
from indexer.sources import corpus
from retrieval.errors import OptionError, OutdatedReaderError, SourceError
from tests.helpers import toy


@pytest.fixture
def source(tmp_path):
    with toy.encoders():
        yield toy.folder(tmp_path / "source")


def build(source, out, **options):
    return indexer.build([source], out=out, preset="toy", **options)


@pytest.mark.parametrize("name", ["C#x", "a%20b", "what?", "@:?#%20é", "two words"])
def test_an_index_folder_may_have_any_name(source, tmp_path, name):
    build(source, tmp_path / name)
    assert retrieval.open(tmp_path / name).text_to_image("red", k=1)[0].id == "red"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["source", name])


def test_pipes_and_folders_named_like_pictures_are_skipped(source, tmp_path):
    os.mkfifo(source / "pipe.png")
    os.mkfifo(source / "pipe.txt")
    summary = build(source, tmp_path / "index")
    assert [failure["path"] for failure in summary.failures] == ["pipe.png", "pipe.txt"]
    (source / "m.csv").write_text("id,image\na,/dev/zero\nb,.\nc,red.png\n", encoding="utf-8")
    assert indexer.build([source / "m.csv"], out=tmp_path / "other", preset="toy").failed == 2


def test_a_different_source_is_not_taken_for_the_old_one(tmp_path):
    with toy.encoders():
        for folder, colour in (("a", "red"), ("b", "blue")):
            path = toy.paint(tmp_path / folder / "p.bmp", colour)
            os.utime(path, (1e9, 1e9))
        build(tmp_path / "a", tmp_path / "index")
        summary = build(tmp_path / "b", tmp_path / "index")
        assert (summary.encoded, summary.generation) == (1, 2)
        hit = retrieval.open(tmp_path / "index").image_to_image(tmp_path / "b/p.bmp")[0]
        assert hit.score == pytest.approx(1, abs=1e-5)


def test_an_engine_whose_generation_was_removed_raises_a_clear_error(source, tmp_path):
    build(source, tmp_path / "index")
    engine = retrieval.open(tmp_path / "index")
    for shade in (250, 240):
        toy.paint(source / "red.png", (shade, 0, 0))
        build(source, tmp_path / "index")
    with pytest.raises(OutdatedReaderError, match="open the index again"):
        engine.text_to_image("red")


def test_a_source_without_any_encodable_file_is_refused(source, tmp_path):
    build(source, tmp_path / "index")
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds/t.wav").write_bytes(b"")
    with pytest.raises(SourceError, match="hold only audio"):
        build(tmp_path / "sounds", tmp_path / "index")
    assert retrieval.open(tmp_path / "index").text_to_image("red", k=1)[0].id == "red"


def test_the_same_failures_again_publish_nothing(source, tmp_path):
    (source / "m.csv").write_text("id,image\na,none.png\nb,none.png\nc,red.png\n", encoding="utf-8")
    assert build(source / "m.csv", tmp_path / "index").generation == 1
    assert build(source / "m.csv", tmp_path / "index").generation == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "a", "caption": "half \\ud800"}\n', "half a character"),
        ("[" * 100_000 + "\n", "line 1 is not JSON"),
    ],
)
def test_malformed_tables_give_a_one_sentence_error(tmp_path, text, message):
    (tmp_path / "m.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match=message):
        corpus.read([tmp_path / "m.jsonl"], leave_out=tmp_path / "index")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_an_unreadable_folder_fails_alone(source, tmp_path):
    shut = source / "shut"
    shut.mkdir(mode=0)
    try:
        summary = build(source, tmp_path / "index")
    finally:
        shut.chmod(0o700)
    assert (summary.items, [failure["path"] for failure in summary.failures]) == (10, ["shut"])


def test_system_errors_and_interruptions_are_one_line(source, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("", encoding="utf-8")
    inside = str(tmp_path / "file" / "index")
    assert run(["index", str(source), "--out", inside, "--preset", "toy"]) == 1
    assert capsys.readouterr().err.count("\n") == 1

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("indexer.sources.corpus.read", interrupted)
    assert run(["index", str(source), "--out", str(tmp_path / "index"), "--preset", "toy"]) == 130
    assert capsys.readouterr().err == "xmodal: interrupted: run the same command again to go on\n"


def test_query_terms_that_cancel_out_are_refused(source, tmp_path):
    build(source, tmp_path / "index")
    engine = retrieval.open(tmp_path / "index")
    for terms in (["a red", ("a red", -1)], ["a red", ("a red", -1 + 1e-7)]):
        with pytest.raises(OptionError, match="cancel each other"):
            engine.search(text=terms, to="image")
    for term in (("a", "b"), ("a", 1, 2)):
        with pytest.raises(OptionError, match="value, weight"):
            engine.search(text=term, to="image")


def test_a_missing_feature_store_is_encoded_again(source, tmp_path):
    build(source, tmp_path / "index")
    shutil.rmtree(tmp_path / "index/features")
    assert build(source, tmp_path / "index").encoded == 20
