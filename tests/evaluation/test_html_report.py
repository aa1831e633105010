"""The HTML report: one self-contained page, with all data escaped."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

import indexer
import retrieval
from indexer.cli.main import run
from retrieval.evaluation.report import chart_data
from tests.helpers import toy

EVIL = "<script>alert('red')</script> $x_1$ {{ 7 * 7 }}"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("toy")
    rows = []
    for name in toy.COLOURS:
        toy.paint(root / f"source/{name}.png", name, (300, 200))
        caption = f"{EVIL} {name}" if name == "red" else f"Something {name}."
        rows.append(f'"{name}",{name}.png,"{caption}",{"<b>" if "r" in name else "cold"}')
    rows[1] = rows[1].replace("green", "blue", 1).replace('"blue"', '"<img src=x onerror=alert(1)>"')
    (root / "source/m.csv").write_text("id,image,caption,kind\n" + "\n".join(rows), encoding="utf-8")
    with toy.encoders():
        indexer.build([root / "source/m.csv"], out=root / "index", preset="toy")
        yield root


@pytest.fixture(scope="module")
def page(root):
    arguments = ("--by", "kind", "--compare", "--against", str(root / "index"))
    assert run(["evaluate", str(root / "index"), *arguments, "--report", str(root / "report.html")]) == 0
    return (root / "report.html").read_text(encoding="utf-8")


class Outline(HTMLParser):
    """Checks that every element is closed in order; records tags and attributes."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self, page):
        super().__init__()
        self.open, self.seen = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_self_contained(page):
    outline = Outline(page)
    assert outline.open == []
    for tag, attributes in outline.seen:
        assert tag not in {"script", "link", "iframe", "object"}
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("data:", "#")), (tag, attributes)
    assert "http" not in re.sub(r'xmlns(:\w+)?="http[^"]*"', "", page).replace("http-equiv", "")


def test_data_are_escaped(page):
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(&#39;red&#39;)&lt;/script&gt; $x_1$ {{ 7 * 7 }} red" in page
    assert not any("onerror" in attributes for _, attributes in Outline(page).seen)


def test_page_contains_all_requested_sections(page):
    assert page.count("<svg") == 3
    for words in ("hit@10", "text-to-image by kind", "exact and served search", "this index minus the other",
                  "Best queries, image-to-text", "queries_fingerprint", "light-dark("):  # fmt: skip
        assert words in page
    assert page.count("data:image/jpeg;base64,") >= 20
    assert not re.search(r"#0[1-4]0[1-4]0\d", page)  # the placeholders for the page's colours
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_report_is_reproducible(root, page):
    arguments = ("--by", "kind", "--compare", "--against", str(root / "index"))
    assert run(["evaluate", str(root / "index"), *arguments, "--report", str(root / "again.html")]) == 0
    assert (root / "again.html").read_text(encoding="utf-8") == page


def test_missing_files_are_reported(root, tmp_path):
    import shutil

    shutil.copytree(root / "source", tmp_path / "source")
    with toy.encoders():
        indexer.build([tmp_path / "source/m.csv"], out=tmp_path / "index", preset="toy")
    (tmp_path / "source/red.png").unlink()
    (tmp_path / "source/blue.png").write_bytes(b"nonsense")
    assert run(["evaluate", str(tmp_path / "index"), "--report", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "&#39;red.png&#39; is not where it was indexed" in page
    Outline(page)


def test_curves_agree_with_the_figures(root):
    result = retrieval.evaluate(retrieval.open(root / "index"), ks=(1, 10))
    for name, task_result in result.task_results.items():
        (ks, hits), (_, recalls) = chart_data.recall_curves(task_result)
        assert ks.tolist() == list(range(1, 11))
        for k in (1, 10):
            assert hits[k - 1] == pytest.approx(result.tasks[name][f"hit@{k}"])
            assert recalls[k - 1] == pytest.approx(result.tasks[name][f"recall@{k}"])
        relevant, others = chart_data.similarity_samples(task_result.prepared)
        assert (len(relevant), len(others)) == (10, 90)
        correlations = chart_data.dimension_correlations(task_result.prepared)
        assert (np.diff(correlations) <= 0).all()
        assert (np.abs(correlations) <= 1 + 1e-9).all()
