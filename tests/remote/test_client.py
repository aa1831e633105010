"""The client returns an engine's hits and raises an engine's errors, over HTTP."""

import numpy as np
import pytest
from PIL import Image

import retrieval
from retrieval import Client, Query, errors
from retrieval.search.searcher import Searcher
from tests.helpers import served, sounds, toy

TOKEN = "correct-horse-battery"  # noqa: S105


@pytest.fixture(scope="module")
def engine(served_folder):
    with toy.encoders():
        yield retrieval.open(served_folder / "index")


@pytest.fixture(scope="module")
def address(engine, served_folder):
    with served.running(served_folder / "index") as address:
        yield address


@pytest.fixture(scope="module")
def client(address):
    with Client(address) as client:
        yield client


def assert_same_hits(actual, expected):
    assert [(hit.id, hit.asset, hit.metadata, hit.path) for hit in actual] == [
        (hit.id, hit.asset, hit.metadata, hit.path) for hit in expected
    ]
    np.testing.assert_allclose([hit.score for hit in actual], [hit.score for hit in expected], atol=1e-6)


def media(folder):
    image = Image.open(folder / "source/blue.png")
    return {
        "text": ["red", ("snow", -0.5)],
        "image": [folder / "source/blue.png", str(folder / "source/red.png"), image.convert("RGBA"),
                  (folder / "source/pink.png").read_bytes()],
        "audio": [folder / "source/hum.wav", ((sounds.melody(1, 8000), 8000), 1.0)],
        "video": [(folder / "source/film.mp4").read_bytes()],
        "id": ["red"],
        "vector": [np.array([0.1, 0.2, 0.3], np.float32)],
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["text", "image", "audio", "video", "id"])
def test_every_kind_of_query_returns_the_engines_hits(client, engine, served_folder, kind):
    target = {"audio": "audio", "video": "video"}.get(kind, "image")
    for value in media(served_folder)[kind]:
        options = {kind: value, "to": target, "k": 4}
        actual, expected = client.search(**options), engine.search(**options)
        assert_same_hits(actual, expected)
        assert all(type(hit) is retrieval.Hit for hit in actual)


def test_pair_methods_and_batches_return_the_engines_hits(client, engine):
    assert_same_hits(
        client.text_to_image("red", 3, where="letters < 6"),
        engine.text_to_image("red", 3, where="letters < 6"),
    )
    queries = [Query(text=name) for name in toy.COLOURS] * 4
    for actual, expected in zip(
        client.search_batch(queries, to="any", k=2), engine.search_batch(queries, to="any", k=2), strict=True
    ):
        assert_same_hits(actual, expected)
    assert client.search_batch([], to="image") == []


def test_encode_modalities_item_and_evaluate(client, engine, served_folder):
    for kind in ("text", "image"):
        value = ["red", "blue"] if kind == "text" else [served_folder / "source/red.png"]
        actual = client.encode(**{kind: value})
        np.testing.assert_allclose(actual, engine.encode(**{kind: value}), atol=1e-6)
        assert actual.dtype == np.float32
    assert client.modalities == engine.modalities
    assert client.item("red")["id"] == "red"
    assert set(client.evaluate(tasks=["text-to-image"])["tasks"]) == {"text-to-image"}


INVALID_OPTIONS = [
    {},
    {"text": "red"},
    {"text": "red", "to": "smell"},
    {"text": "red", "to": "image", "k": 0},
    {"text": "red", "to": "image", "k": 2.5},
    {"text": "red", "to": "image", "where": "letters ="},
    {"text": "red", "to": "image", "where": "size = 1"},
    {"text": " ", "to": "image"},
    {"text": ("red", float("nan")), "to": "image"},
    {"text": ["red", ("red", -1)], "to": "image"},
    {"id": "zebra", "to": "image"},
    {"vector": [1.0, 2.0], "to": "image"},
    {"vector": [float("nan")] * 3, "to": "image"},
    {"vector": [[1.0]], "to": "image"},
    {"image": "nowhere.png", "to": "text"},
    {"image": b"", "to": "text"},
    {"image": b"no picture", "to": "text"},
    {"image": 7, "to": "text"},
    {"audio": b"no sound", "to": "audio"},
    {"audio": (np.zeros((2, 2)), 8000), "to": "audio"},
    {"video": b"no video", "to": "video"},
]


@pytest.mark.parametrize("options", INVALID_OPTIONS, ids=str)
def test_errors_have_the_engines_classes(client, engine, options):
    classes = []
    for searcher in (engine, client):
        with pytest.raises(retrieval.XmodalError) as caught:
            searcher.search(**options)
        classes.append(caught.type)
    assert classes[0] is classes[1]


def test_token_is_sent(served_folder):
    with toy.encoders(), served.running(served_folder / "index", token=TOKEN) as address:
        with Client(address, token=TOKEN) as client:
            assert client.text_to_image("red", k=1)[0].id == "red"
        with Client(address) as client, pytest.raises(errors.UnauthorizedError, match="token"):
            client.text_to_image("red")


def test_wrong_address_is_reported(address):
    for broken in ("", "localhost", "ftp://x", "http://", None):
        with pytest.raises(errors.OptionError, match="no address"):
            Client(broken)
    with Client("http://127.0.0.1:9") as client, pytest.raises(errors.ServerError, match="xmodal serve"):
        client.info()
    with Client(f"{address}/elsewhere") as client, pytest.raises(errors.ServerError):
        client.info()


def test_engine_and_client_are_searchers(client, engine):
    assert isinstance(client, Searcher)
    assert isinstance(engine, Searcher)
