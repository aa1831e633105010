"""The command line: its output on standard output and error, and its exit status."""

import json
import re
import shutil

import pytest

import retrieval
from indexer.cli.main import run
from retrieval.alignment.methods import registry as alignments
from retrieval.cli.search_command import parse_weighted
from retrieval.encoders import registry as encoders
from retrieval.fusion import registry as fusions
from tests.helpers import toy


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("toy")
    toy.folder(root / "source")
    with toy.encoders():
        assert run(["index", str(root / "source"), "--out", str(root / "index"), "--preset", "toy"]) == 0
        yield root


@pytest.fixture
def xmodal(root, capsys, monkeypatch):
    """Run a command in the root folder; return its exit status, standard output and standard error."""
    monkeypatch.chdir(root)
    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments):
        status = run(list(arguments))
        output = capsys.readouterr()
        return status, output.out, output.err

    return call


def test_index_prints_a_summary(xmodal):
    status, out, _ = xmodal("index", "source", "--out", "other", "--preset", "toy", "--json")
    summary = json.loads(out)
    assert status == 0
    assert {key: summary[key] for key in ("items", "assets", "encoded", "failed")} == {
        "items": 10,
        "assets": {"text": 10, "image": 10},
        "encoded": 20,
        "failed": 0,
    }
    assert set(summary) >= {"reused", "removed", "failures", "seconds", "assets_per_second"}
    status, out, _ = xmodal("index", "source", "--out", "other")
    assert status == 0
    assert "encoded    0\nreused     20\n" in out


def test_exit_status_3_if_some_files_fail(xmodal, root):
    shutil.copytree(root / "source", root / "damaged")
    (root / "damaged/red.png").write_bytes(b"nonsense")
    status, out, _ = xmodal("index", "damaged", "--out", "damaged-index", "--preset", "toy")
    assert status == 3
    assert "failed     1\n  'red.png': " in out
    status, out, _ = xmodal("search", "damaged-index", "--text", "blue", "--to", "image", "-k", "1")
    assert (status, out.split()[3]) == (0, "blue")


def test_search_prints_hits(xmodal):
    status, out, err = xmodal("search", "index", "--text", "red", "--to", "image", "-k", "2", "--json")
    hits = json.loads(out)
    assert (status, err) == (0, "")
    expected = ["rank", "score", "id", "modality", "path", "text", "start", "end", "metadata"]
    assert list(hits[0]) == [*expected, "asset", "percentile", "contributions"]
    assert (hits[0]["rank"], hits[0]["id"], len(hits)) == (1, "red", 2)
    _, out, _ = xmodal("search", "index", "--image", "source/blue.png", "-k", "1")
    assert out.split(maxsplit=4)[3:] == ["blue", "Something blue.\n"]


def test_query_terms_can_be_weighted_and_repeated(xmodal):
    terms = ("--text", "yellow", "--text", "green^-0.5", "--id", "red^0.1")
    _, out, _ = xmodal("search", "index", *terms, "--to", "image", "-k", "5", "--json")
    query = {"text": ["yellow", ("green", -0.5)], "id": ("red", 0.1)}
    hits = retrieval.open("index").search(**query, to="image", k=5)
    assert json.loads(out) == [hit.as_dict() for hit in hits]
    _, out, _ = xmodal("search", "index", "--id", "red", "--to", "image", "-k", "99", "--json")
    assert "red" not in {hit["id"] for hit in json.loads(out)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("snow^-0.5", ("snow", -0.5)),
        ("snow", ("snow", 1.0)),
        ("a^b", ("a^b", 1.0)),
        ("x^2^.3", ("x^2", 0.3)),
        ("two\nlines^2", ("two\nlines", 2.0)),
        ("^2", ("", 2.0)),
    ],
)
def test_parse_weighted_reads_the_weight_at_the_end(text, expected):
    assert parse_weighted(text) == expected


def test_evaluate_prints_a_table_and_its_protocol(xmodal):
    status, out, _ = xmodal("evaluate", "index")
    assert status == 0
    assert "split all, pool all, relevance item, captions all, ties by id, exact search" in out
    assert "text-to-image" in out
    assert "image-to-text" in out
    status, out, _ = xmodal("evaluate", "index", "--task", "text-to-image", "-k", "1,3", "--json")
    result = json.loads(out)
    assert set(result["tasks"]["text-to-image"]) >= {
        "queries",
        "pool",
        "hit@1",
        "recall@3",
        "mrr",
        "map",
        "median_rank",
    }


def test_info_describes_the_index(xmodal):
    status, out, _ = xmodal("info", "index")
    assert status == 0
    assert "10 items" in out
    assert "toy-image" in out
    assert json.loads(xmodal("info", "index", "--json")[1])["format"] == 2


def test_realign_publishes_a_new_generation(xmodal, root):
    shutil.copytree(root / "index", root / "copy")
    status, out, _ = xmodal("realign", "copy", "--align", "conse")
    assert (status, out.startswith("generation 2: conse")) == (0, True)


def test_attention_alignment_needs_encoders_that_keep_parts(xmodal, root):
    for arguments in (
        ["realign", "index"],
        ["index", "source", "--out", "fresh", "--preset", "toy"],
    ):
        status, out, err = xmodal(*arguments, "--align", "attention")
        assert (status, out) == (1, "")
        assert "(toy-text, toy-image) keeps any: run 'xmodal index' on the sources with --preset parts" in err
    assert not list((root / "fresh").glob("features/*"))  # refused before anything was encoded


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["search", "source", "--text", "a"],
            "'source' is not an index: expected a folder with manifest.json",
        ),
        (["search", "nowhere", "--text", "a"], "'nowhere' does not exist"),
        (["search", "index"], "empty query: specify at least one of text, image"),
        (["search", "index", "--text", "a", "-k", "0"], "k must be a whole number of at least 1, not 0"),
        (["search", "index", "--text", "a", "-k", "x"], "valid integer"),
        (
            ["search", "index", "--text", "a", "--to", "smell"],
            "unknown modality 'smell': expected one of text,",
        ),
        (["search", "index", "--image", "none.png"], "none.png"),
        (["search", "index", "--text", "a", "--where", "x = 1"], "x"),
        (["search", "index", "--text", "a", "--device", "abacus"], "abacus"),
        (["search", "index", "--id", "zebra", "--to", "image"], "no item 'zebra'"),
        (["evaluate", "index", "--task", "a"], "unknown task 'a'"),
        (["evaluate", "index", "-k", "1,x"], "-k takes whole numbers"),
        (["evaluate", "index", "-k", "0"], "at least 1"),
        (["info", "source"], "is not an index"),
        (["realign", "index", "--align", "magic"], "'magic'"),
        (["index", "nowhere", "--out", "x"], "'nowhere' does not exist"),
        (["index", "source"], "--out"),
        (["index", "source", "--out", "x", "--holdout", "2"], "holdout must be a fraction"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_wrong_input_prints_one_line_and_exits_with_2(xmodal, arguments, message):
    status, out, err = xmodal(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("xmodal: ")
    assert err.count("\n") == 1
    assert message in err


def test_version_and_help(xmodal):
    assert xmodal("--version")[1].startswith("xmodal ")
    status, out, _ = xmodal("--help")
    assert status == 0
    for command in (
        "index",
        "search",
        "evaluate",
        "info",
        "realign",
        "verify",
        "repair",
        "serve",
        "failures",
    ):
        assert command in out


@pytest.mark.parametrize(
    "names",
    [alignments.METHODS, fusions.METHODS, encoders.PRESETS],
    ids=["align", "fuse", "preset"],
)
def test_help_lists_the_values_of_an_option(xmodal, names):
    status, out, _ = xmodal("index", "--help")
    assert status == 0
    assert set(names) <= set(re.findall(r"[a-z-]+", out))
