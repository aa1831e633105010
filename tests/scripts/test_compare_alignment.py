"""Results that the comparison keeps: reused only under the same conditions, and only from complete lines."""

import importlib.util
from pathlib import Path

import pytest

import indexer
from tests.helpers import toy

SCRIPT = Path(__file__).parents[2] / "scripts/compare_alignment.py"


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    root = tmp_path_factory.mktemp("compared")
    toy.folder(root / "source", captions=False)
    rows = [f"{name},{name}.png,Something {name}.,{len(name)}" for name in toy.COLOURS]
    text = "\n".join(["id,image,caption,letters", *rows]) + "\n"
    (root / "source/m.csv").write_text(text, encoding="utf-8")
    with toy.encoders():
        indexer.build([root / "source/m.csv"], out=root / "index", preset="toy")
        yield root / "index"


@pytest.fixture
def compare(index, tmp_path, monkeypatch, capsys):
    """Run the comparison with ``--keep``; return the methods and seeds measured in this run, and the table."""
    spec = importlib.util.spec_from_file_location("compare_alignment", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    measured, real = [], script._compare

    def recording(copy, method, seed, holdout, options):
        measured.append((method, seed))
        return real(copy, method, seed, holdout, options)

    monkeypatch.setattr(script, "_compare", recording)

    def run(*arguments, index=index):
        measured.clear()
        words = [str(index), "--align", "cca", "--seeds", "0", "1", "--keep", str(tmp_path / "kept")]
        script.main([*words, "--fuse", *arguments])
        return list(measured), capsys.readouterr().out

    return run


BOTH = [("cca", 0), ("cca", 1)]


def test_kept_results_are_reused(compare):
    first, table = compare("weighted")
    second, second_table = compare("weighted")
    assert (first, second) == (BOTH, [])
    assert second_table == table


@pytest.mark.parametrize("other_options", [["weighted", "--holdout", "0.4"], ["concat"],
                                       ["weighted", "--relevance", "letters"]])  # fmt: skip
def test_results_of_other_options_are_not_reused(compare, other_options):
    compare("weighted")
    assert compare(*other_options)[0] == BOTH
    assert compare("weighted")[0] == []


def test_holdouts_are_kept_separately_and_shown_together(compare):
    compare("weighted", "--holdout", "letters = 5")
    measured, table = compare("weighted", "--holdout", "letters = 5", "letters = 6", "--wide")
    assert measured == BOTH
    assert "held out letters = 5; letters = 6" in table
    [row] = [line for line in table.splitlines() if line.startswith("| cca |")]
    assert row.count("/") == 1
    assert compare("weighted", "--holdout", "letters = 6")[0] == []


def test_results_of_another_index_are_not_reused(compare, index, tmp_path):
    compare("weighted")
    lines = (index.parent / "source/m.csv").read_text(encoding="utf-8").splitlines()
    other = index.parent / "source/other.csv"
    other.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    indexer.build([other], out=tmp_path / "index", preset="toy")
    assert compare("weighted", index=tmp_path / "index")[0] == BOTH


def test_an_incomplete_line_is_measured_again(compare, tmp_path):
    _, table = compare("weighted")
    kept = tmp_path / "kept"
    complete = kept.read_bytes()
    kept.write_bytes(complete[:-20])
    measured, second_table = compare("weighted")
    assert measured == [("cca", 1)]
    assert len(kept.read_bytes().splitlines()) == 2
    assert [line.split("|")[:7] for line in second_table.splitlines()] == [
        line.split("|")[:7] for line in table.splitlines()
    ]
    assert compare("weighted")[0] == []
