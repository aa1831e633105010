"""Evaluation of an index: queries, pool, relevance, and the expected figures."""

import json
import shutil

import numpy as np
import pytest

import indexer
import retrieval
from retrieval.errors import ExpressionError, OptionError
from retrieval.evaluation import runs, trec
from retrieval.evaluation.bootstrap import Resampling
from retrieval.evaluation.comparison import compare_evaluations
from retrieval.evaluation.metrics import Measure
from retrieval.evaluation.task import Task
from retrieval.types import Modality
from tests.helpers import toy


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


def test_text_of_a_task_parses_back():
    task = Task.parse("audio-to-video")
    assert (task.query, task.target, str(task)) == (Modality.AUDIO, Modality.VIDEO, "audio-to-video")
    for text in ("text", "text-image", "text-to-", "text-to-smell", "text-to-image-to-text"):
        with pytest.raises(OptionError):
            Task.parse(text)


def test_default_split_and_pool_are_the_holdout(engine):
    result = retrieval.evaluate(engine).as_dict()
    assert result["protocol"]["split"] == result["protocol"]["pool"] == "holdout"
    assert list(result["tasks"]) == ["text-to-image", "image-to-text"]
    for figures in result["tasks"].values():
        assert (figures["queries"], figures["pool"], figures["queries_without_relevant"]) == (10, 10, 0)
        assert figures["hit@1"] == figures["recall@1"] == figures["mrr"] == figures["map"] == 1.0
        assert figures["median_rank"] == 1.0
    assert result["protocol"]["index"]["alignment"] == engine.manifest.alignment["fingerprint"]
    json.dumps(result, allow_nan=False)


def test_figures_equal_those_from_single_searches(engine):
    result = retrieval.evaluate(engine, ["image-to-text"], (1, 2, 3), split="all").as_dict()
    modality_index = engine.index.modality_index(Modality.IMAGE)
    table = engine.index.table(Modality.IMAGE)
    hits, recalls = [], []
    for asset, item in zip(table.assets, table.items, strict=True):
        record = engine.index.catalog.records([asset])[asset]
        vector = modality_index.index.vectors(modality_index.rows_of([asset]))[0]
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


def test_asset_is_not_in_its_own_pool(engine):
    same_item = retrieval.evaluate(engine, ["image-to-image"], split="all").as_dict()["tasks"][
        "image-to-image"
    ]
    assert (same_item["queries"], same_item["queries_without_relevant"], same_item["hit@1"]) == (0, 30, None)
    same_value = retrieval.evaluate(engine, ["image-to-image"], (1, 2), relevance="colour", split="all")
    figures = same_value.as_dict()["tasks"]["image-to-image"]
    assert figures["queries"] == 30
    assert figures["recall@2"] > 0.8


def test_pool_may_be_larger_than_the_split(engine):
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


def test_split_is_all_without_a_holdout_and_an_explicit_holdout_is_refused(folder, tmp_path):
    with toy.encoders():
        indexer.build([folder / "source/m.csv"], out=tmp_path / "index", preset="toy")
    engine = retrieval.open(tmp_path / "index")
    assert retrieval.evaluate(engine).protocol["split"] == "all"
    with pytest.raises(OptionError, match="0 queries in split 'holdout'"):
        retrieval.evaluate(engine, split="holdout")


def test_equal_seeds_give_equal_figures_which_lie_in_their_intervals(engine):
    first = retrieval.evaluate(engine, split="all", by=["colour"], compare=True)
    assert first.as_dict() == retrieval.evaluate(engine, split="all", by=["colour"], compare=True).as_dict()
    for figures in first.tasks.values():
        assert set(figures["intervals"]) == {
            str(measure) for measure in first.task_results["text-to-image"].values
        }
        for name, (low, high) in figures["intervals"].items():
            assert low <= figures[name] <= high
    none = retrieval.evaluate(engine, resampling=Resampling(resamples=0))
    assert set(none.tasks["text-to-image"]["intervals"].values()) == {None}


def test_slices_average_to_the_total(engine):
    figures = retrieval.evaluate(engine, ["text-to-image"], by=["colour", "shade"], split="all").tasks
    for slices in figures["text-to-image"]["slices"].values():
        queries = [part["queries"] for part in slices.values()]
        assert sum(queries) == figures["text-to-image"]["queries"]
        hits = [part["hit@1"] for part in slices.values()]
        assert np.average(hits, weights=queries) == pytest.approx(figures["text-to-image"]["hit@1"])
    assert set(figures["text-to-image"]["slices"]["shade"]) == {"0", "1", "2"}
    with pytest.raises(ExpressionError, match="smell"):
        retrieval.evaluate(engine, by=["smell"])


def test_pool_filter_with_comparison_of_exact_and_served_search(engine):
    result = retrieval.evaluate(
        engine, ["text-to-image"], (1, 5), split="all", where="shade < 2", compare=True
    )
    figures = result.tasks["text-to-image"]
    assert (figures["queries"], figures["pool"], figures["queries_without_relevant"]) == (21, 20, 10)
    assert figures["without_relevant"][:2] == ["black2#0", "blue2#0"]
    columns = figures["compare"]
    assert list(columns) == ["exact", "served", "exact where shade < 2", "served where shade < 2"]
    assert columns["exact"] == columns["served"]
    assert columns["exact where shade < 2"] == columns["served where shade < 2"]
    assert columns["exact"]["pool"] == 30
    assert columns["exact where shade < 2"]["hit@1"] == figures["hit@1"]
    assert result.protocol["where"] == "shade < 2"


def test_captions_option_limits_captions_per_item(engine):
    result = retrieval.evaluate(engine, ["image-to-text"], split="all", captions=1)
    assert result.tasks["image-to-text"]["pool"] == 30
    sizes = retrieval.evaluate(engine, ["image-to-text"], split="all").protocol["tasks"]["image-to-text"]
    assert sizes["assets_an_item"] == {"least": 1, "mean": 31 / 30, "most": 2}
    assert sizes["pool"] == 31


def test_relevance_from_a_qrels_file(engine, tmp_path):
    (tmp_path / "qrels").write_text(
        "red0 0 red0 3\nred0 0 pink0 1\nred0 0 black0 0\n"  # both captions of red0
        "blue0#0 0 blue1 2\nblue0#0 0 lost 1\n"  # an asset that is not in the index is never retrieved
        "never-indexed 0 blue1 1\n"  # for a query that is not in the index, nothing is retrieved
    )
    result = retrieval.evaluate(engine, ["text-to-image"], split="all", qrels=tmp_path / "qrels")
    figures = result.tasks["text-to-image"]
    assert (figures["queries"], figures["queries_without_relevant"]) == (4, 28)
    task_result = result.task_results["text-to-image"]
    number = {name: position for position, name in enumerate(task_result.prepared.query_names)}
    assert list(number)[-1] == "never-indexed"
    hits = task_result.values[Measure.parse("hit@10")]
    recall = task_result.values[Measure.parse("recall@10")]
    assert (hits[number["red0#0"]], hits[number["never-indexed"]]) == (1.0, 0.0)
    assert recall[number["blue0#0"]] == 0.5
    assert result.protocol["relevance"] == "qrels"
    with pytest.raises(OptionError, match="not both"):
        retrieval.evaluate(engine, qrels=tmp_path / "qrels", relevance="colour")


def test_a_run_has_the_figures_of_the_search_that_wrote_it(engine, tmp_path):
    searched = retrieval.evaluate(engine, ["text-to-image"], split="all", relevance="colour")
    prepared = searched.task_results["text-to-image"].prepared
    scores, rows = runs.search_results(prepared, 30)
    trec.write_run(tmp_path / "run", prepared.query_names, prepared.pool_names, scores, rows, "t")
    options = {"split": "all", "relevance": "colour", "run": tmp_path / "run"}
    figures = retrieval.evaluate(engine, ["text-to-image"], **options)
    assert figures.tasks == searched.tasks
    lines = (tmp_path / "run").read_text().splitlines(keepends=True)
    (tmp_path / "run").write_text("".join(line for line in lines if not line.startswith("blue")))
    fewer = retrieval.evaluate(engine, ["text-to-image"], **options)
    removed = [name for name in prepared.query_names if name.startswith("blue")]
    values = fewer.task_results["text-to-image"].values[Measure.parse("mrr")]
    assert [values[prepared.query_names.index(name)] for name in removed] == [0.0] * 3
    with pytest.raises(OptionError, match="of one task"):
        retrieval.evaluate(engine, **options)
    (tmp_path / "run").write_text("red0#0 Q0 zebra 1 0.5 t\n")
    with pytest.raises(OptionError, match="'zebra' is no asset of the pool"):
        retrieval.evaluate(engine, ["text-to-image"], **options)


def test_comparison_of_an_index_with_itself_finds_no_difference(engine, folder, tmp_path):
    result = retrieval.evaluate(engine)
    tests = compare_evaluations(result, result, Resampling())["text-to-image"]
    assert tests["same_pool"]
    assert set(tests["measures"]) == {"hit@1", "hit@5", "hit@10", "recall@1", "recall@5", "recall@10", "ndcg",
        "ndcg@1", "ndcg@5", "ndcg@10", "map", "map@1", "map@5", "map@10", "mrr", "mean_rank"}  # fmt: skip
    assert tests["measures"]["hit@1"] == {
        "difference": 0.0, "interval": (0.0, 0.0), "p_value": 1.0, "queries": 10
    }  # fmt: skip
    everything = retrieval.evaluate(engine, split="all")
    with pytest.raises(OptionError, match=r"21 only in the second index \(black0 'Something black.', "):
        compare_evaluations(result, everything, Resampling())
    with pytest.raises(OptionError, match="no task image-to-text"):
        compare_evaluations(result, retrieval.evaluate(engine, ["text-to-image"]), Resampling())


def test_protocol_stamp_distinguishes_data(engine, folder, tmp_path):
    stamp = retrieval.evaluate(engine).protocol
    sizes = stamp["tasks"]["text-to-image"]
    assert sizes == retrieval.evaluate(engine, ["text-to-image"], (3,)).protocol["tasks"]["text-to-image"]
    everything = retrieval.evaluate(engine, split="all").protocol["tasks"]["text-to-image"]
    assert everything["queries_fingerprint"] != sizes["queries_fingerprint"]
    assert set(stamp["index"]["vectors"]) == {"text", "image"}
    assert stamp["intervals"] == {
        "method": "percentile bootstrap over queries", "confidence": 0.95, "resamples": 1000, "seed": 0
    }  # fmt: skip
    (tmp_path / "m.csv").write_text(
        (folder / "source/m.csv").read_text().replace("Something red.", "Anything red.")
    )
    shutil.copytree(folder / "source", tmp_path / "source")
    shutil.move(tmp_path / "m.csv", tmp_path / "source/m.csv")
    with toy.encoders():
        indexer.build([tmp_path / "source/m.csv"], out=tmp_path / "index", preset="toy", holdout="shade = 1")
    other = retrieval.evaluate(retrieval.open(tmp_path / "index")).protocol["tasks"]["text-to-image"]
    assert other["queries_fingerprint"] != sizes["queries_fingerprint"]
    assert other["pool_fingerprint"] == sizes["pool_fingerprint"]
