"""The HTTP API: results as the engine's, files, error responses, and the switch to a new generation."""

import json
import threading
from io import BytesIO

import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import indexer
import retrieval
from retrieval.encoders.video_frames import VideoTransform
from retrieval.search.modality_index import ModalityIndex
from retrieval.server.app import make
from retrieval.types import Modality
from tests.helpers import served, toy


@pytest.fixture(scope="module")
def engine(served_folder):
    with toy.encoders():
        yield retrieval.open(served_folder / "index")


@pytest.fixture(scope="module")
def api(engine, served_folder):
    with TestClient(make(served_folder / "index"), base_url=served.HOST) as client:
        yield client


def search(api, *terms, **options):
    response = api.post("/api/search", json={"terms": list(terms), **options})
    assert response.status_code == 200, response.text
    return response.json()


def text_term(text, weight=1.0):
    return {"kind": "text", "value": text, "weight": weight}


def assert_same_hits(shown, hits):
    assert [(hit["id"], hit["asset"], hit["rank"]) for hit in shown] == [
        (hit.id, hit.asset, hit.rank) for hit in hits
    ]
    np.testing.assert_allclose([hit["score"] for hit in shown], [hit.score for hit in hits], atol=1e-6)


@pytest.mark.parametrize("to", ["text", "image", "any"])
@pytest.mark.parametrize("where", [None, "letters > 4"])
def test_text_query_returns_the_engines_hits(api, engine, to, where):
    answer = search(api, text_term("red"), to=to, k=5, where=where)
    assert answer["to"] == to
    assert_same_hits(answer["hits"], engine.search(text="red", to=to, k=5, where=where))
    assert [hit["contributions"] for hit in answer["hits"]] == [[hit["score"]] for hit in answer["hits"]]


@pytest.mark.parametrize(
    ("kind", "name"), [("image", "blue.png"), ("audio", "hum.wav"), ("video", "film.mp4")]
)
def test_file_query_returns_the_engines_hits(api, engine, served_folder, kind, name):
    path = served_folder / "source" / name
    query = json.dumps({"terms": [{"kind": kind, "upload": "mine"}], "to": kind, "k": 3})
    response = api.post("/api/search", data={"query": query}, files={"mine": path.read_bytes()})
    assert response.status_code == 200, response.text
    assert_same_hits(response.json()["hits"], engine.search(**{kind: path}, to=kind, k=3))


def test_contributions_of_the_terms_add_up_to_the_score(api, engine):
    point = engine.encode(text="white")[0]
    terms = [text_term("yellow"), text_term("green", -0.5), {"kind": "vector", "value": point.tolist(), "weight": 0.3},
             {"kind": "id", "value": "blue", "weight": 0.2}]  # fmt: skip
    hits = search(api, *terms, to="image", k=9)["hits"]
    assert_same_hits(
        hits,
        engine.search(
            text=["yellow", ("green", -0.5)], vector=(point, 0.3), id=("blue", 0.2), to="image", k=9
        ),
    )
    pictures = engine.encode(image=[colour_picture(name) for name in (*[hit["id"] for hit in hits], "blue")])
    parts = np.stack([*engine.encode(text=["yellow", "green"]), point, pictures[-1]])
    parts *= np.array([1, -0.5, 0.3, 0.2], np.float32)[:, None]
    expected = pictures[:-1] @ (parts / np.linalg.norm(parts.sum(axis=0))).T
    actual = np.array([hit["contributions"] for hit in hits])
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    np.testing.assert_allclose(actual.sum(axis=1), [hit["score"] for hit in hits], atol=1e-6)


def test_contributions_are_computed_once(api, monkeypatch):
    real, calls = ModalityIndex.rows_of, []

    def rows_of(modality_index, assets):
        calls.append(modality_index)
        return real(modality_index, assets)

    monkeypatch.setattr(ModalityIndex, "rows_of", rows_of)
    hits = search(api, text_term("red"), text_term("blue", -0.5), to="image", k=5)["hits"]
    assert [len(hit["contributions"]) for hit in hits] == [2] * 5
    assert len(calls) == 1


def colour_picture(name):
    return Image.new("RGB", (8, 8), toy.COLOURS[name])


def test_contributions_add_up_for_hits_of_several_modalities(api):
    hits = search(api, text_term("red"), text_term("blue"), to="any", k=20)["hits"]
    assert {hit["modality"] for hit in hits} >= {"text", "image"}
    np.testing.assert_allclose(
        [sum(hit["contributions"]) for hit in hits], [hit["score"] for hit in hits], atol=1e-6
    )


def test_encode_returns_the_engines_vectors(api, engine):
    response = api.post("/api/encode", json={"terms": [text_term("red"), text_term("blue")]})
    np.testing.assert_allclose(response.json()["vectors"], engine.encode(text=["red", "blue"]), atol=1e-6)


def test_item_has_its_metadata_and_assets(api):
    item = api.get("/api/items/red").json()
    assert (item["id"], item["metadata"]) == ("red", {"letters": 3})
    assert [(each["modality"], each["path"], each["text"]) for each in item["assets"]] == [
        ("text", None, "Something red."),
        ("image", "red.png", None),
    ]
    caption, picture = item["assets"]
    assert (caption["media"], caption["thumbnail"]) == (None, None)
    assert picture["media"] == f"/api/media/{picture['asset']}"


def test_info_describes_modalities_and_filter_columns(api, engine):
    info = api.get("/api/info").json()
    assert info["modalities"]["image"] == {"assets": 10, "index": "flat", "asks": True}
    assert set(info["modalities"]) == {"text", "image", "audio", "video"}
    assert info["columns"][0] == {
        "name": "letters", "type": "integer", "examples": [5, 6, 4, 3, 9], "min": 3, "max": 9,
    }  # fmt: skip
    assert info["encoders"] == engine.manifest.as_dict()["encoders"]
    assert (info["generation"], info["items"]) == (1, 12)
    assert str(engine.folder.parent) not in json.dumps(info)


def test_evaluate_returns_what_the_command_prints(api, engine):
    options = {"tasks": ["text-to-image"], "ks": [1, 3], "relevance": "item", "by": ["letters"]}
    expected = retrieval.evaluate(engine, ["text-to-image"], (1, 3), by=["letters"]).as_dict()
    assert api.post("/api/evaluate", json=options).json() == json.loads(json.dumps(expected))


def media_of(api, key, modality):
    assets = api.get(f"/api/items/{key}").json()["assets"]
    return next(each["media"] for each in assets if each["modality"] == modality)


@pytest.mark.parametrize(
    ("key", "modality", "name", "kind"),
    [
        ("red", "image", "red.png", "image/png"),
        ("hum", "audio", "hum.wav", "audio/wav"),
        ("film", "video", "film.mp4", "video/mp4"),
    ],
)
def test_files_are_served_whole_and_by_range(api, served_folder, key, modality, name, kind):
    address, data = media_of(api, key, modality), (served_folder / "source" / name).read_bytes()
    whole = api.get(address)
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, data, kind)
    assert whole.headers["content-disposition"] == f'inline; filename="{name}"'
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in whole.headers["content-security-policy"]
    part = api.get(address, headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, data[5:10])
    assert part.headers["content-range"] == f"bytes 5-9/{len(data)}"
    assert api.get(address, headers={"Range": f"bytes={len(data)}-"}).status_code == 416
    again = api.get(address, headers={"If-None-Match": whole.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_picture_thumbnail_is_small_and_revalidated_by_etag(api):
    address = media_of(api, "red", "image") + "/thumbnail"
    small = api.get(address, params={"size": 16})
    with Image.open(BytesIO(small.content)) as image:
        assert (image.format, image.size, image.getpixel((3, 3))) == ("JPEG", (8, 8), (254, 0, 0))
    again = api.get(address, params={"size": 16}, headers={"If-None-Match": small.headers["etag"]})
    assert again.status_code == 304
    assert api.get(address, params={"size": 17}).headers["etag"] != small.headers["etag"]


def test_sound_thumbnail_is_its_waveform(api):
    drawn = api.get(media_of(api, "hum", "audio") + "/thumbnail")
    assert drawn.headers["content-type"] == "image/svg+xml"
    assert drawn.text.count("M") == 120


def test_video_thumbnail_is_a_frame(api):
    drawn = api.get(media_of(api, "film", "video") + "/thumbnail")
    with Image.open(BytesIO(drawn.content)) as image:
        assert (image.size, abs(image.getpixel((9, 9))[0] - 60) < 4) == ((64, 48), True)


INVALID_QUERIES = [
    ({"terms": []}, 422, "OptionError"),
    ({"terms": [text_term("red")], "to": "smell"}, 422, "OptionError"),
    ({"terms": [text_term("red")], "k": 0}, 422, "OptionError"),
    ({"terms": [text_term("red")], "colour": 1}, 422, "OptionError"),
    ({"terms": [{"kind": "image", "value": "/etc/passwd"}], "to": "text"}, 422, "OptionError"),
    ({"terms": [{"kind": "image", "upload": "none"}], "to": "text"}, 400, "OptionError"),
    ({"terms": [text_term(" ")], "to": "image"}, 400, "MediaError"),
    ({"terms": [text_term("red")]}, 400, "OptionError"),
    ({"terms": [text_term("red"), text_term("red", -1)], "to": "image"}, 400, "OptionError"),
    ({"terms": [text_term("red")], "to": "image", "where": "letters ="}, 400, "ExpressionError"),
    ({"terms": [text_term("red")], "to": "image", "where": "nothing = 1"}, 400, "ExpressionError"),
    ({"terms": [{"kind": "id", "value": "zebra"}], "to": "image"}, 404, "UnknownItemError"),
    ({"terms": [{"kind": "vector", "value": [1.0, 2.0]}], "to": "image"}, 400, "OptionError"),
]


@pytest.mark.parametrize(("body", "status", "kind"), INVALID_QUERIES)
def test_errors_have_one_shape(api, body, status, kind):
    response = api.post("/api/search", json=body)
    assert (response.status_code, response.json()["error"]["kind"]) == (status, kind)
    assert response.json()["error"]["message"]


def test_invalid_bodies_are_refused(api):
    assert (
        api.post("/api/search", content=b"{", headers={"Content-Type": "application/json"}).status_code == 422
    )
    assert api.post("/api/search", content=b"red").status_code == 400
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    assert api.post("/api/search", content=b"--y\r\n", headers=broken).status_code == 400
    assert api.post("/api/search", data={"other": "1"}, files={"f": b"x"}).status_code == 400
    damaged = {"query": json.dumps({"terms": [{"kind": "image", "upload": "f"}], "to": "text"})}
    answer = api.post("/api/search", data=damaged, files={"f": b"no picture"})
    assert (answer.status_code, answer.json()["error"]["kind"]) == (400, "MediaError")


def test_wrong_query_does_not_fail_the_others_of_its_batch(served_folder):
    with toy.encoders():
        app = make(served_folder / "index")
    opened = app.state.service.index._current
    from retrieval.server.open_generation import SearchRequest
    from retrieval.types import Query

    point = opened.engine.encode(text="red")[0]
    requests = [
        SearchRequest(Query(vector=point), "image", 2, None),
        SearchRequest(Query(id="zebra"), "image", 2, None),
        SearchRequest(Query(vector=point), "image", 3, None),
    ]
    good, bad, other = opened._search(requests)
    assert [hit.id for hit in good] == [hit.id for hit in other[:2]]
    assert isinstance(bad, retrieval.XmodalError)


def test_requests_are_counted_by_route(api):
    api.get("/api/items/red")
    text = api.get("/metrics").text
    assert 'xmodal_requests_total{method="GET",route="/api/items/{key:anytext}",status="200"}' in text
    assert 'xmodal_batch_size_bucket{le="1.0",work="search"}' in text


@pytest.mark.parametrize("step", ["prepare", "encode"])
def test_slow_query_does_not_delay_other_modalities(api, engine, served_folder, monkeypatch, step):
    resume, started = threading.Event(), threading.Event()
    kind = type(engine.index.space.encoder("video"))
    owner, name = (VideoTransform, "__call__") if step == "prepare" else (kind, step)
    original = getattr(owner, name)

    def wait_first(self, argument):
        started.set()
        assert resume.wait(30)
        return original(self, argument)

    monkeypatch.setattr(owner, name, wait_first)
    query = {"query": json.dumps({"terms": [{"kind": "video", "upload": "f"}], "to": "video"})}
    film = (served_folder / "source/film.mp4").read_bytes()
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(api.post("/api/search", data=query, files={"f": film}))
    )
    thread.start()
    assert started.wait(30)
    assert search(api, text_term("red"), to="image")["hits"]
    assert not answers
    resume.set()
    thread.join(30)
    assert answers[0].json()["hits"][0]["id"] == "film"


def test_full_queue_is_answered_with_503_and_retry_after(served_folder):
    with toy.encoders(), TestClient(make(served_folder / "index"), base_url=served.HOST) as api:
        opened = api.app.state.service.index._current
        opened._unfiltered._max_waiting = 0
        response = api.post("/api/search", json={"terms": [text_term("red")], "to": "image"})
        assert (response.status_code, response.json()["error"]["kind"]) == (503, "BusyError")
        assert int(response.headers["retry-after"]) > 0
        assert search(api, text_term("red"), to="image", where="letters > 0")["hits"]


def test_networks_are_warmed_up_before_the_first_request(tmp_path, encoders):
    toy.folder(tmp_path / "source")
    indexer.build([tmp_path / "source"], out=tmp_path / "index", preset="toy")
    before = {modality: encoder.encoded for modality, encoder in encoders.items()}
    with TestClient(make(tmp_path / "index"), base_url=served.HOST):
        pass
    ran = {modality for modality, encoder in encoders.items() if encoder.encoded > before[modality]}
    assert ran == {Modality.TEXT, Modality.IMAGE}


def test_server_switches_to_a_new_generation(tmp_path, monkeypatch):
    monkeypatch.setattr("retrieval.server.reloading.CHECK_INTERVAL", 0)
    toy.folder(tmp_path / "source")
    with toy.encoders():
        indexer.build([tmp_path / "source"], out=tmp_path / "index", preset="toy")
        with TestClient(make(tmp_path / "index"), base_url=served.HOST) as api:
            before = api.app.state.service.index._current
            with before.in_use():  # a request in progress
                toy.paint(tmp_path / "source/navy.png", (0, 0, 120))
                indexer.build([tmp_path / "source"], out=tmp_path / "index", preset="toy")
                while api.get("/api/health").json()["generation"] == 1:
                    pass
                assert before.engine.text_to_image("red", k=20)[0].id == "red"
                assert {hit["id"] for hit in search(api, text_term("blue"), to="image")["hits"]} >= {"navy"}
            (tmp_path / "index/manifest.json").write_text("{", encoding="utf-8")
            while api.get("/api/health").json()["status"] == "ok":
                pass
            assert api.get("/api/health").json()["problem"] == "DamagedIndexError"
            assert search(api, text_term("blue"), to="image")["hits"]


def test_hostile_names_are_served_unchanged(tmp_path):
    names = ['a"b', "line\nbreak", "\u202egnp.exe", "ü ñ", "%2e%2e%2f", "a;b=c", "<b>/<i onload=alert(1)>"]
    for name in names:
        toy.paint(tmp_path / "source" / f"{name}.png", "red")
    with toy.encoders():
        indexer.build([tmp_path / "source"], out=tmp_path / "index", preset="toy")
        with served.running(tmp_path / "index") as address, retrieval.Client(address) as client:
            hits = client.text_to_image("red")
            assert {hit.id for hit in hits} == set(names)
            for hit in hits:
                assert client.item(hit.id)["assets"][0]["path"] == hit.path
                response = httpx2.get(f"{address}/api/media/{hit.asset}")
                assert response.content == (tmp_path / "source" / hit.path).read_bytes()
                assert response.headers["content-disposition"].startswith("inline; filename")
                assert not set(response.headers["content-disposition"]) & set("<>\n\u202e")
