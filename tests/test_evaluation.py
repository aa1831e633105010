"""Evaluation of an index: who asks, who is searched, what is relevant, and what the figures must be."""

import json

import numpy as np
import pytest

import indexer
import retrieval
from retrieval.errors import ExpressionError, OptionError
from retrieval.evaluation import Task
from retrieval.types import Modality
from tests import toy


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("toy")
    rows = []
    for name, (r, g, b) in toy.COLOURS.items():
        for shade in range(3):
            toy.paint(root / f"source/{name}{shade}.png", (max(r - 9 * shade, 0), g, b))
            rows.append(f"{name}{shade},{name}{shade}.png,Something {name}.,{name},{shade}")
    rows += ["red0,,More red.,,"]
    (root / "source/m.csv").write_text("id,image,caption,colour,shade\n" + "\n".join(rows), encoding="utf-8")
    with toy.encoders():
        indexer.build([root / "source/m.csv"], out=root / "index", preset="toy", holdout="shade = 1")
        yield root


@pytest.fixture(scope="module")
def engine(folder):
    return retrieval.open(folder / "index")


def test_tasks_print_as_text_that_parses_back():
    task = Task.parse("audio-to-video")
    assert (task.query, task.target, str(task)) == (Modality.AUDIO, Modality.VIDEO, "audio-to-video")
    for text in ("text", "text-image", "text-to-", "text-to-smell", "text-to-image-to-text"):
        with pytest.raises(OptionError):
            Task.parse(text)


def test_by_default_the_held_out_items_ask_and_are_searched(engine):
    result = retrieval.evaluate(engine).as_dict()
    assert result["protocol"]["split"] == result["protocol"]["pool"] == "holdout"
    assert list(result["tasks"]) == ["text-to-image", "image-to-text"]
    for figures in result["tasks"].values():
        assert (figures["queries"], figures["pool"], figures["queries_without_relevant"]) == (10, 10, 0)
        assert figures["hit@1"] == figures["recall@1"] == figures["mrr"] == figures["map"] == 1.0
        assert figures["median_rank"] == 1.0
    assert result["protocol"]["index"]["alignment"] == engine.manifest.alignment["fingerprint"]
    json.dumps(result, allow_nan=False)


def test_figures_equal_those_of_searching(engine):
    result = retrieval.evaluate(engine, ["image-to-text"], (1, 2, 3), split="all").as_dict()
    shelf = engine.shelf(Modality.IMAGE)
    table = engine.table(Modality.IMAGE)
    hits, recalls = [], []
    for asset, item in zip(table.assets, table.items, strict=True):
        record = engine.catalog.records([asset])[asset]
        vector = shelf.index.vectors(shelf.rows_of([asset]))[0]
        found = [hit.id for hit in engine.search(vector=vector, to="text", k=3)]
        hits.append(record.item in found)
        recalls.append(found.count(record.item) / (2 if record.item == "red0" else 1))
        assert item
    figures = result["tasks"]["image-to-text"]
    assert figures["queries"] == 30
    assert figures["pool"] == 31
    assert figures["hit@3"] == np.mean(hits)
    assert figures["recall@3"] == pytest.approx(np.mean(recalls))


def test_items_with_the_same_value_are_relevant(engine):
    result = retrieval.evaluate(engine, ["text-to-image"], (3,), relevance="colour", split="all").as_dict()
    figures = result["tasks"]["text-to-image"]
    assert result["protocol"]["relevance"] == "colour"
    assert figures["hit@3"] >= 0.9
    assert figures["recall@3"] > 0.8
    with pytest.raises(ExpressionError, match="smell"):
        retrieval.evaluate(engine, relevance="smell")


def test_an_asset_is_not_in_its_own_pool(engine):
    same_item = retrieval.evaluate(engine, ["image-to-image"], split="all").as_dict()["tasks"][
        "image-to-image"
    ]
    assert (same_item["queries"], same_item["queries_without_relevant"], same_item["hit@1"]) == (0, 30, None)
    same_value = retrieval.evaluate(engine, ["image-to-image"], (1, 2), relevance="colour", split="all")
    figures = same_value.as_dict()["tasks"]["image-to-image"]
    assert figures["queries"] == 30
    assert figures["recall@2"] > 0.8


def test_the_pool_may_be_larger_than_the_split(engine):
    figures = retrieval.evaluate(engine, ["text-to-image"], pool="all").as_dict()["tasks"]["text-to-image"]
    assert (figures["queries"], figures["pool"]) == (10, 30)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": ["text-to-audio"]}, "holds no audio"),
        ({"tasks": ["text"]}, "expected A-to-B"),
        ({"ks": (0,)}, "at least 1"),
        ({"split": "some"}, "unknown split 'some'"),
        ({"pool": "some"}, "unknown pool 'some'"),
    ],
)
def test_unusable_options_are_refused(engine, options, message):
    with pytest.raises(OptionError, match=message):
        retrieval.evaluate(engine, **options)


def test_without_a_holdout_all_items_count_unless_it_is_asked_for(folder, tmp_path):
    with toy.encoders():
        indexer.build([folder / "source/m.csv"], out=tmp_path / "index", preset="toy")
    engine = retrieval.open(tmp_path / "index")
    assert retrieval.evaluate(engine).protocol["split"] == "all"
    with pytest.raises(OptionError, match="0 queries in split 'holdout'"):
        retrieval.evaluate(engine, split="holdout")
