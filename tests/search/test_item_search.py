"""Whole items: fusion, indexing, search, and repair."""

import json
import shutil

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import indexer
import retrieval
from indexer.cli.main import run
from indexer.fitting import score_backgrounds
from indexer.settings import Settings
from retrieval import Client, Query
from retrieval.errors import OptionError, OutdatedReaderError
from retrieval.fusion import registry
from retrieval.server.app import make
from retrieval.storage.verification import verify
from retrieval.types import ITEM, Modality, Term
from tests.helpers import served, toy


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("items")
    source = toy.table(root / "source", "words,,only blue words,5")
    with toy.encoders():
        indexer.build([source], out=root / "index", preset="toy", fuse="weighted")
        yield root


@pytest.fixture(scope="module")
def engine(folder):
    return retrieval.open(folder / "index")


def test_item_hit_shows_the_picture(engine):
    hits = engine.search(text="red", to="item", k=4)
    assert [hit.rank for hit in hits] == [1, 2, 3, 4]
    assert (hits[0].id, hits[0].modality, hits[0].path) == ("red", "item", "red.png")
    assert hits[0].metadata == {"letters": 3}
    assert len({hit.id for hit in engine.search(text="red", to="item", k=100)}) == len(toy.COLOURS) + 1
    words = next(hit for hit in engine.search(text="red", to="item", k=100) if hit.id == "words")
    assert (words.path, words.text) == (None, "only blue words")


def test_item_vector_is_the_fusion_of_its_parts(engine):
    table = {modality: engine.index.table(modality) for modality in engine.modalities}
    weights = engine.index.fusion.fusion.weights
    modality_index = engine.index.modality_index(ITEM)
    item = table[Modality.IMAGE].items[0]
    parts = []
    for modality in engine.index.fusion.modalities:
        rows = np.flatnonzero(table[modality].items == item)
        mean = engine.index.modality_index(modality).index.vectors(rows).mean(axis=0)
        parts.append(mean / np.linalg.norm(mean))
    fused = weights @ np.array(parts)
    row = modality_index.rows_of([table[Modality.IMAGE].assets[0]])
    np.testing.assert_allclose(modality_index.index.vectors(row)[0], fused / np.linalg.norm(fused), atol=1e-5)


def test_similar_items_exclude_the_query_item_and_respect_filters(engine):
    hits = engine.search(id="red", to="item", k=100)
    assert "red" not in {hit.id for hit in hits}
    percentiles = [hit.percentile for hit in hits]
    assert percentiles == sorted(percentiles, reverse=True)
    assert 0 < percentiles[-1] < 50 < percentiles[0] < 100
    few = engine.search(text="red", to="item", k=100, where="letters = 5")
    assert {hit.id for hit in few} == {*(name for name in toy.COLOURS if len(name) == 5), "words"}


def test_all_forms_of_queries_find_items(engine):
    picture = Image.new("RGB", (3, 3), "red")
    composed = engine.search(text="red", image=picture, to="item", k=3)
    assert composed[0].id == "red"
    vector = engine.encode(text="red")[0]
    queries = [
        Query(vector=Term("vector", vector, of=Modality.TEXT)),
        Query(text="red"),
        Query(vector=vector),
    ]
    first, second, third = engine.search_batch(queries, to="item", k=3)
    assert [hit.id for hit in first] == [hit.id for hit in second]
    assert [hit.score for hit in first] == pytest.approx([hit.score for hit in second], abs=1e-5)
    assert third[0].id == "red"
    assert "item" not in {hit.modality for hit in engine.search(text="red", to="any", k=50)}


@pytest.mark.parametrize("method", registry.METHODS)
def test_every_fusion_is_available_without_encoding(folder, tmp_path, method):
    index = shutil.copytree(folder / "index", tmp_path / "index")
    manifest = indexer.realign(index, fuse=method)
    assert manifest.items["fusion"] == method
    assert retrieval.open(index).search(text="red", to="item", k=100)[0].modality == "item"
    assert verify(index).is_whole
    assert indexer.realign(index).generation == manifest.generation


def test_background_queries_are_sampled_once_per_realignment(folder, tmp_path, monkeypatch):
    index = shutil.copytree(folder / "index", tmp_path / "index")
    real, calls = score_backgrounds.queries, []

    def queries(*arguments):
        calls.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(score_backgrounds, "queries", queries)
    before = retrieval.open(index).manifest
    indexer.realign(index, fuse="concat")
    after = indexer.realign(index, fuse="weighted")
    assert len(calls) == 2
    assert (after.indexes, after.items) == (before.indexes, before.items)


def test_removed_items_are_refused_as_target_with_instructions(folder, tmp_path):
    index = shutil.copytree(folder / "index", tmp_path / "index")
    assert indexer.realign(index, fuse="none").items == {}
    with pytest.raises(OptionError, match=r"holds no item.*realign DIR --fuse METHOD") as raised:
        retrieval.open(index).search(text="red", to="item")
    assert str(tmp_path) not in str(raised.value)  # a server sends the message to any client
    with pytest.raises(OptionError, match=r"unknown fusion 'soup'.* weighted, .*, none$"):
        indexer.realign(index, fuse="soup")


def test_only_an_index_with_items_needs_the_newer_format(folder, tmp_path):
    index = shutil.copytree(folder / "index", tmp_path / "index")
    # A version without items reads format 2, these settings, and no unknown fields.
    known = {"encoders", "align", "holdout", "seed", "index", "recall", "memory", "favour"}

    def published():
        values = json.loads((index / "manifest.json").read_text(encoding="utf-8"))
        return values["format"], set(values["settings"]) - known, "items" in values

    assert published() == (3, {"fuse"}, True)
    indexer.realign(index, fuse="none")
    assert published() == (2, set(), False)
    assert Settings.from_dict(retrieval.open(index).manifest.settings).fuse is None
    indexer.realign(index, fuse="graph")
    assert published() == (3, {"fuse"}, True)
    assert Settings.from_dict(retrieval.open(index).manifest.settings).fuse == "graph"
    generation = retrieval.open(index).manifest.generation
    assert indexer.realign(index).generation == generation


def test_items_are_updated_with_the_sources(folder, tmp_path):
    index = shutil.copytree(folder / "index", tmp_path / "index")
    source = shutil.copytree(folder / "source", tmp_path / "source")
    text = (source / "m.csv").read_text(encoding="utf-8")
    (source / "m.csv").write_text(
        text.replace("words,,only blue words,5\n", "new,,a new red,3\n"), encoding="utf-8"
    )
    indexer.build([source / "m.csv"], out=index, allow_mass_removal=True)
    found = {hit.id for hit in retrieval.open(index).search(text="red", to="item", k=100)}
    assert found == {*toy.COLOURS, "new"}


def test_removed_generation_is_reported(folder, tmp_path):
    index = shutil.copytree(folder / "index", tmp_path / "index")
    engine = retrieval.open(index)
    shutil.rmtree(index / "generations")
    with pytest.raises(OutdatedReaderError, match="open the index again"):
        _ = engine.index.fusion


@pytest.mark.parametrize(
    "name", ["item.faiss", "item.assets.npy", "item.centre.npy", "item.fusion.safetensors"]
)
def test_damaged_item_files_are_found_and_repaired(folder, tmp_path, name):
    index = shutil.copytree(folder / "index", tmp_path / "index")
    before = retrieval.open(index).search(text="red", to="item", k=3)
    [file] = index.glob(f"generations/*/{name}")
    data = bytearray(file.read_bytes())
    data[-2] ^= 4
    file.write_bytes(data)
    [damage] = verify(index).damages
    assert (damage.path.rpartition("/")[2], damage.modalities) == (name, ("item",))
    assert indexer.repair(index).after.is_whole
    after = retrieval.open(index).search(text="red", to="item", k=3)
    assert [hit.id for hit in after] == [hit.id for hit in before]


def test_commands_support_items_and_fused_rankings(folder, capsys):
    index = str(folder / "index")
    assert run(["search", index, "--text", "red", "--to", "item", "--json", "-k", "1"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["modality"] == "item"
    terms = ["--text", "red^2", "--text", "blue"]
    assert run(["search", index, *terms, "--to", "item", "--combine", "rrf", "--json", "-k", "1"]) == 0
    [hit] = json.loads(capsys.readouterr().out)
    assert sum(hit["contributions"]) == pytest.approx(hit["score"])
    capsys.readouterr()
    for wrong, message in (
        (["--combine", ""], "unknown combine method ''"),
        (["--combine", "rrf", "--explain-plan"], "leave one out"),
    ):
        assert run(["search", index, *terms, "--to", "item", *wrong]) == 2
        assert message in capsys.readouterr().err
    assert run(["info", index]) == 0
    assert "weighted" in next(
        line for line in capsys.readouterr().out.splitlines() if line.startswith("item index")
    )


def test_a_server_finds_items(folder):
    with TestClient(make(folder / "index"), base_url=served.HOST) as client:
        query = {"terms": [{"kind": "text", "value": "red"}], "to": "item"}
        response = client.post("/api/search", json=query)
        assert response.status_code == 200, response.text
        [first, *_] = response.json()["hits"]
        assert (first["id"], first["modality"], first["contributions"]) == ("red", "item", [first["score"]])
        assert client.get(first["thumbnail"]).status_code == 200
        assert client.get("/api/info").json()["fusion"] == "weighted"


def test_server_loads_items_at_start(folder, tmp_path):
    index = shutil.copytree(folder / "index", tmp_path / "index")
    with TestClient(make(index), base_url=served.HOST) as client:
        for file in index.glob("generations/*/item.*"):
            file.unlink()
        query = {"terms": [{"kind": "text", "value": "red"}], "to": "item"}
        response = client.post("/api/search", json=query)
        assert (response.status_code, len(response.json()["hits"])) == (200, len(toy.COLOURS) + 1)


def test_client_finds_the_same_items_as_the_engine(folder, engine):
    queries = [Query(text="red"), Query(id="red"), Query(text=["red", ("blue", -0.5)], id="green")]
    with served.running(folder / "index") as address, Client(address) as client:
        found = client.search_batch(queries, to="item", k=4, where="letters > 3")
    expected = engine.search_batch(queries, to="item", k=4, where="letters > 3")
    for hits, expected_hits in zip(found, expected, strict=True):
        assert [(hit.id, hit.modality, hit.asset) for hit in hits] == [
            (hit.id, "item", hit.asset) for hit in expected_hits
        ]
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected_hits], abs=1e-6)


def test_client_reports_missing_items(folder, tmp_path):
    index = shutil.copytree(folder / "index", tmp_path / "index")
    indexer.realign(index, fuse="none")
    with served.running(index) as address, Client(address) as client:
        assert client.info()["fusion"] is None
        with pytest.raises(OptionError, match="realign DIR --fuse METHOD"):
            client.search(text="red", to="item")


def test_item_shown_by_a_text_file_has_no_media_address(folder, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "red.txt").write_text("Something red.", encoding="utf-8")
    (source / "blue.txt").write_text("Something blue.", encoding="utf-8")
    indexer.build([source], out=tmp_path / "index", preset="toy", fuse="weighted")
    with TestClient(make(tmp_path / "index"), base_url=served.HOST) as client:
        query = {"terms": [{"kind": "text", "value": "red"}], "to": "item"}
        hits = client.post("/api/search", json=query).json()["hits"]
        assert (hits[0]["path"], hits[0]["text"]) == ("red.txt", "Something red.")
        assert [(hit["media"], hit["thumbnail"]) for hit in hits] == [(None, None)] * 2
