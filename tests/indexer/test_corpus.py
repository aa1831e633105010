"""Reading folders and manifests into items."""

import os
import subprocess

import pytest

from indexer.sources import corpus
from indexer.sources.readers import tables
from retrieval.errors import SourceError
from retrieval.types import Modality
from tests.helpers.toy import paint


def read(*sources, out="out"):
    return corpus.read(sources, leave_out=sources[0].parent / out)


def captions(result, key):
    return [part.text for part in result.items[key].parts if part.modality is Modality.TEXT]


def test_files_that_share_a_stem_are_one_item(tmp_path):
    paint(tmp_path / "a/cat.jpg", "red")
    (tmp_path / "a/cat.txt").write_text("A cat.\n\n  A pet. \n", encoding="utf-8")
    (tmp_path / "a/cat.ogg").write_bytes(b"")
    (tmp_path / "a/cat.notes").write_bytes(b"")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/cat.MP4").write_bytes(b"")
    result = read(tmp_path)
    assert list(result.items) == ["a/cat", "b/cat"]
    assert [part.path for part in result.items["a/cat"].parts] == [
        "a/cat.jpg",
        "a/cat.ogg",
        "a/cat.txt",
        "a/cat.txt",
    ]
    assert captions(result, "a/cat") == ["A cat.", "A pet."]
    assert [(part.modality, part.is_track) for part in result.items["b/cat"].parts] == [
        ("video", False),
        ("audio", True),
    ]
    assert result.problems == []


def test_ids_keep_dots_that_do_not_start_the_file_ending(tmp_path):
    paint(tmp_path / "v1.2.final.png", "red")
    assert list(read(tmp_path).items) == ["v1.2.final"]


def test_hidden_files_and_the_index_folder_are_skipped(tmp_path):
    source = tmp_path / "source"
    paint(source / ".hidden/a.png", "red")
    paint(source / "._b.png", "red")
    paint(source / "index/c.png", "red")
    paint(source / "d.png", "red")
    assert list(corpus.read([source], leave_out=source / "index").items) == ["d"]


def test_translations_are_not_captions(tmp_path):
    text = "A cat.\npt_br.utf8=Uma gata.\nsr@latin.utf8=Mačka.\nx = 2 is maths.\n"
    (tmp_path / "cat.txt").write_text(text, encoding="utf-8")
    assert captions(read(tmp_path), "cat") == ["A cat.", "x = 2 is maths."]


@pytest.mark.parametrize(
    ("encoding", "text"), [("utf-8-sig", "Zoë"), ("utf-16", "Zoë"), ("utf-8", "Zoë\r\n")]
)
def test_captions_in_the_usual_encodings(tmp_path, encoding, text):
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    assert captions(read(tmp_path), "a") == ["Zoë"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "holds no caption"),
        (b" \n\n", "holds no caption"),
        (b"caf\xe9", "expected text in UTF-8, byte 3 is not"),
        (b"x" * 1_000_001, "may have at most 1,000,000 bytes"),
    ],
)
def test_a_bad_caption_file_fails_alone(tmp_path, data, reason):
    paint(tmp_path / "a.png", "red")
    (tmp_path / "a.txt").write_bytes(data)
    result = read(tmp_path)
    assert [part.modality for part in result.items["a"].parts] == ["image"]
    assert [(problem.path, problem.stage) for problem in result.problems] == [("a.txt", "corpus")]
    assert reason in result.problems[0].reason


def test_a_second_picture_of_an_item_is_a_named_problem(tmp_path):
    paint(tmp_path / "a.jpg", "red")
    paint(tmp_path / "a.png", "red")
    result = read(tmp_path)
    assert [part.path for part in result.items["a"].parts] == ["a.jpg"]
    assert result.problems[0].path == "a.png"
    assert "item 'a' has the image a.jpg already" in result.problems[0].reason


def test_a_file_name_that_is_not_utf8_is_escaped(tmp_path):
    paint(tmp_path / "a.png", "red")
    os.rename(tmp_path / "a.png", os.fsencode(tmp_path) + b"/caf\xe9.png")
    paint(tmp_path / "b.png", "red")
    paint(tmp_path / "caf\\xe9.png", "red")
    result = read(tmp_path)
    assert list(result.items) == ["b", "caf\\xe9"]
    assert [problem.path for problem in result.problems] == ["caf\\xe9.png"]


def test_a_link_does_not_leave_the_source(tmp_path):
    paint(tmp_path / "source/in/a.png", "red")
    paint(tmp_path / "other.png", "red")
    for name, target in {
        "inside.png": "in/a.png",
        "outside.png": "../other.png",
        "absolute.png": tmp_path / "other.png",
        "twice.png": "outside.png",
        "loop.png": "loop.png",
        "nowhere.png": "none.png",
        "folder": "..",
        "folder.png": "in",
    }.items():
        (tmp_path / "source" / name).symlink_to(target)
    (tmp_path / "index").symlink_to("source")
    result = read(tmp_path / "index")
    assert sorted(result.items) == ["in/a", "inside"]
    reasons = {problem.path: problem.reason.partition(":")[0] for problem in result.problems}
    leaves = "is a symbolic link that leaves the source"
    assert reasons == {
        **dict.fromkeys(["outside.png", "absolute.png", "twice.png"], leaves),
        **dict.fromkeys(["loop.png", "nowhere.png"], "cannot be read"),
    }


def test_folders_of_any_depth_and_any_file_names_are_read(tmp_path):
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):  # by descriptors: the whole path is longer than the system accepts
        os.mkdir("d" * 3, dir_fd=here)
        deeper = os.open("d" * 3, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    long = "x" * 251
    for name in ("two\nlines", "tab\t\x1b[31m", " ", "-rf", "a" + "\u0301" * 100, long):
        paint(tmp_path / f"{name}.png", "red")
    try:
        result = read(tmp_path)
    finally:  # Python 3.11's rmtree is limited by the stack's depth
        subprocess.run(["rm", "-r", str(tmp_path / "ddd")], check=True)  # noqa: S607
    assert set(result.items) == {"two\nlines", "tab\t\x1b[31m", " ", "-rf", "a" + "\u0301" * 100, long}
    assert [problem.reason for problem in result.problems] == ["cannot be read: File name too long"]


def test_missing_and_empty_sources_are_refused(tmp_path):
    with pytest.raises(SourceError, match="does not exist"):
        read(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="nothing to index"):
        read(tmp_path)
    (tmp_path / "a.doc").write_bytes(b"")
    with pytest.raises(SourceError, match="neither a folder nor a manifest"):
        read(tmp_path / "a.doc")


CSV = """id,image,caption,year,place,code
1,a.png,A cat.,2001,Oslo,007
2,b.png,A dog.,1999,,008
1,,A pet.,,Rome,
"""


def test_a_manifest_has_one_row_per_item_and_repeated_ids_add_captions(tmp_path):
    paint(tmp_path / "a.png", "red")
    paint(tmp_path / "b.png", "blue")
    (tmp_path / "m.csv").write_text(CSV, encoding="utf-8")
    result = read(tmp_path / "m.csv")
    assert captions(result, "1") == ["A cat.", "A pet."]
    assert result.items["1"].metadata == {"year": 2001, "place": "Oslo", "code": "007"}
    assert result.items["2"].metadata == {"year": 1999, "code": "008"}
    assert result.columns == {"year": "integer", "place": "text", "code": "text"}


def test_all_manifest_formats_give_the_same_corpus(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    paint(tmp_path / "a.png", "red")
    rows = [{"id": "1", "image": "a.png", "caption": ["A cat.", "A pet."], "score": 0.5, "ok": True}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "m.parquet")
    (tmp_path / "m.jsonl").write_text(
        '{"id": 1, "image": "a.png", "caption": ["A cat.", "A pet."], "score": 0.5, "ok": true}\n\n',
        encoding="utf-8",
    )
    (tmp_path / "m.tsv").write_text(
        "id\timage\tcaption\tscore\n1\ta.png\tA cat.\t0.5\n1\t\tA pet.\t\n", encoding="utf-8"
    )
    for name in ("m.parquet", "m.jsonl", "m.tsv"):
        result = read(tmp_path / name)
        assert captions(result, "1") == ["A cat.", "A pet."]
        assert result.items["1"].parts[0].path == "a.png"
        assert result.columns["score"] == "real"
        assert result.items["1"].metadata["score"] == 0.5
    assert read(tmp_path / "m.jsonl").columns["ok"] == "boolean"


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("m.csv", "name,image\na,b\n", "there is no column 'id' among"),
        ("m.csv", "id;image\na;b\n", "expected a header, and ',' between columns"),
        ("m.csv", "id,image,image\na,b,c\n", "a column name appears twice"),
        ("m.csv", "id,image\n,b\n", "row 1 of .* has no id"),
        ("m.csv", "id,image\na,b,c\n", "line 2 has a different number of columns"),
        ("m.csv", "id,image\na\n", "line 2 has a different number of columns"),
        ("m.jsonl", "{}\n", "row 1 of .* has no id"),
        ("m.jsonl", '{"id": 1}\nnonsense\n', "line 2 is not JSON"),
        ("m.jsonl", "[1]\n", "line 1 is not a JSON object"),
        ("m.parquet", "nonsense", "cannot be read"),
    ],
)
def test_a_malformed_manifest_is_refused(tmp_path, name, text, reason):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match=reason):
        read(tmp_path / name)


def test_a_missing_file_named_by_a_manifest_is_a_problem(tmp_path):
    (tmp_path / "m.csv").write_text("id,image,caption\n1,a.png,A cat.\n", encoding="utf-8")
    result = read(tmp_path / "m.csv")
    assert captions(result, "1") == ["A cat."]
    assert result.problems[0].path == "a.png"
    assert "No such file" in result.problems[0].reason


def test_sources_are_joined_by_id(tmp_path):
    paint(tmp_path / "pictures/a.png", "red")
    (tmp_path / "m.csv").write_text("id,caption,year\na,A cat.,2001\n", encoding="utf-8")
    result = read(tmp_path / "pictures", tmp_path / "m.csv")
    assert captions(result, "a") == ["A cat."]
    assert result.items["a"].metadata == {"year": 2001}


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([1, 2], "integer"),
        (["1", "-20"], "integer"),
        (["1", "2.5"], "real"),
        ([1, 2.5], "real"),
        (["007"], "text"),
        (["1", "one"], "text"),
        ([True, False], "boolean"),
        ([True, 1], "text"),
        (["", None, float("nan"), 3], "integer"),
        ([["a", "b"]], "text"),
    ],
)
def test_kinds_of_columns(cells, kind):
    values, kinds = tables.metadata([{"id": str(at), "c": cell} for at, cell in enumerate(cells)])
    assert kinds == {"c": kind}
    assert all(
        type(value["c"]).__name__
        == {"integer": "int", "real": "float", "text": "str", "boolean": "bool"}[kind]
        for value in values.values()
    )
