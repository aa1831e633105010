"""Hits as HTML, in notebooks and as a file, with all data escaped."""

import copy
import pickle
import re
from html.parser import HTMLParser

import pytest

import indexer
import retrieval
from indexer.cli.main import run
from retrieval import Client, Hit
from retrieval.search.hits import Hits
from retrieval.types import Modality
from tests.helpers import served, toy

EVIL = '<script>alert(1)</script> "quoted" \u202e {{ 7 * 7 }}'


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.seen = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("toy")
    toy.folder(root / "source")
    (root / "source/red.txt").write_text(f"{EVIL} red", encoding="utf-8")
    toy.paint(root / "source/<img src=x onerror=alert(2)>.png", "red")
    with toy.encoders():
        indexer.build([root / "source"], out=root / "index", preset="toy")
        yield root


@pytest.fixture(scope="module")
def engine(root):
    return retrieval.open(root / "index")


def test_hits_behave_like_a_list(engine):
    hits = engine.text_to_image("red", k=3)
    assert isinstance(hits, Hits)
    assert hits == list(hits)
    assert list(hits) == hits
    assert repr(hits) == repr(list(hits))
    assert pickle.loads(pickle.dumps(hits)) == hits
    assert copy.copy(hits) == hits


@pytest.mark.parametrize("to", ["text", "image", "any"])
def test_notebook_html_has_pictures_and_escaped_captions(engine, to):
    page = engine.search(text="red", to=to, k=30)._repr_html_()
    tags = Tags(page).seen
    assert {tag for tag, _ in tags} <= {
        "section", "style", "ol", "li", "figure", "figcaption", "img", "blockquote", "span",
    }  # fmt: skip
    assert not any("onerror" in attributes for _, attributes in tags)
    pictures = [attributes for tag, attributes in tags if tag == "img"]
    assert len(pictures) == (0 if to == "text" else 11)
    assert all(re.match("data:image/jpeg;base64,", each["src"]) for each in pictures)
    assert ("&lt;script&gt;" in page) == (to != "image")
    assert "{{ 7 * 7 }}" in page or to == "image"
    assert ":root" not in page  # the notebook keeps its own styles


def test_html_of_hits_without_an_index_and_of_no_hits(engine):
    hit = Hit(1, 0.5, "gone", Modality.IMAGE, "gone.png")
    assert "gone.png" in Hits([hit])._repr_html_()
    assert "Nothing found" in Hits()._repr_html_()
    moment = Hit(1, 0.5, "talk", Modality.AUDIO, "talk.wav", start=2.0, end=4.5)
    assert "at 2.0–4.5 s" in Hits([moment])._repr_html_()


def test_sounds_and_videos_have_players(served_folder, tmp_path):
    with toy.encoders():
        engine = retrieval.open(served_folder / "index")
        sound = engine.audio_to_audio(served_folder / "source/hum.wav")._repr_html_()
        film = engine.video_to_video(served_folder / "source/film.mp4")._repr_html_()
    assert [tag for tag, _ in Tags(sound).seen if tag in ("img", "audio")] == ["img", "audio"]
    assert "data:audio/wav;base64," in sound
    [video] = [attributes for tag, attributes in Tags(film).seen if tag == "video"]
    assert video["poster"].startswith("data:image/jpeg")
    assert video["src"].startswith("data:video/mp4")


def test_client_and_engine_show_the_same_html(engine, root):
    (root / "source/pink.png").rename(root / "source/pink.away")
    try:
        with served.running(root / "index") as address, Client(address) as client:
            shown = client.text_to_image("red", k=30)._repr_html_()
            here = engine.text_to_image("red", k=30)._repr_html_()
    finally:
        (root / "source/pink.away").rename(root / "source/pink.png")
    assert shown == here
    assert "is not where it was indexed" in here


def test_command_writes_a_self_contained_page(root, tmp_path, capsys):
    file = tmp_path / "found.html"
    status = run(
        ["search", str(root / "index"), "--text", "red <b>", "--to", "any", "-k", "30", "--html", str(file)]
    )
    assert (status, capsys.readouterr().err) == (0, "")
    page = file.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "<title>red &lt;b&gt;</title>" in page
    for tag, attributes in Tags(page).seen:
        assert tag not in {"script", "link", "iframe", "object"}
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")
    assert (
        run(
            [
                "search",
                str(root / "index"),
                "--text",
                "red",
                "--to",
                "text",
                "--html",
                str(tmp_path / "no/x.html"),
            ]
        )
        == 1
    )
    assert "no/x.html" in capsys.readouterr().err
