"""Evaluation of whole items, each fused from its modalities except the query's."""

import json

import numpy as np
import pytest

import indexer
import retrieval
from indexer.cli.main import run
from retrieval.errors import OptionError
from retrieval.evaluation import runs, trec
from retrieval.fusion import registry
from retrieval.fusion.base import Parts
from retrieval.fusion.stored_fusion import FittedFusion
from retrieval.types import Modality
from tests.helpers import sounds, toy

PITCHES = (250, 1000, 3000)  # the toy encoder maps these to red, green and blue
TASK = "text-to-item"


def sound(path, colour):
    times = np.arange(3200) / 16000
    tones = [
        share / 255 * np.sin(2 * np.pi * pitch * times)
        for share, pitch in zip(colour, PITCHES, strict=True)
        if share
    ]
    path.write_bytes(sounds.wav((0.2 * np.sum(tones, axis=0)).astype(np.float32), 16000))


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Colours in two shades, one of them held out: all have captions, some lack a picture, some a sound."""
    root = tmp_path_factory.mktemp("wholes")
    (root / "source").mkdir()
    rows = ["id,image,audio,caption,colour,shade"]
    for number, (name, colour) in enumerate(toy.COLOURS.items()):
        for shade in (0, 1):
            item = f"{name}{shade}"
            shaded = tuple(max(value - 20 * shade, 0) for value in colour)
            picture, audio = (
                f"{item}.png" if number % 4 else "",
                f"{item}.wav" if number % 3 and any(colour) else "",
            )
            if picture:
                toy.paint(root / "source" / picture, shaded)
            if audio:
                sound(root / "source" / audio, shaded)
            rows += [f"{item},{picture},{audio},Something {name}.,{name},{shade}"]
    rows += ["pink1,,,A warm pink.,,"]
    (root / "source/m.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    with toy.encoders():
        indexer.build(
            [root / "source/m.csv"], out=root / "index", preset="toy", encoders={"audio": "toy-audio"},
            align="cca", holdout="shade = 1", fuse="weighted",
        )  # fmt: skip
        yield root / "index"


@pytest.fixture(scope="module")
def engine(index):
    return retrieval.open(index)


def held_out(engine):
    """Return by modality the vectors of held-out assets and their items."""
    found = {}
    for modality in engine.modalities:
        table = engine.index.table(modality)
        rows = np.flatnonzero(table.held_out)
        found[modality] = engine.index.modality_index(modality).index.vectors(rows), table.items[rows]
    return found


@pytest.mark.parametrize("method", registry.METHODS)
@pytest.mark.parametrize("query_modality", [Modality.TEXT, Modality.IMAGE])
def test_items_are_fused_without_the_query_modality(engine, method, query_modality):
    held = held_out(engine)
    parts, items = Parts.of(held, engine.modalities)
    fused = FittedFusion(method, parts.modalities, registry.fit(method, parts))
    others = np.array([[modality is not query_modality for modality in engine.modalities]])
    some = (parts.present & others).any(axis=1)
    gallery = fused.fusion(parts.take(some).keep_only(others))
    vectors, query_items = held[query_modality]
    scores = fused.query_vector(vectors, query_modality) @ gallery.T
    task = f"{query_modality}-to-item"
    evaluation = retrieval.evaluate(engine, [task], (1, 3), fusion=fused)
    queries, pool = evaluation.task_results[task].prepared.vectors()
    np.testing.assert_allclose(np.sort(queries @ pool.T), np.sort(scores), atol=1e-5)
    judged = np.flatnonzero(np.isin(query_items, items[some]))
    ranks = [
        1 + (scores[query] > scores[query, items[some] == query_items[query]][0] + 1e-6).sum()
        for query in judged
    ]
    assert evaluation.tasks[task]["queries"] == len(judged)
    assert evaluation.tasks[task]["pool"] == some.sum()
    if len({*np.round(scores.ravel(), 5)}) == scores.size:  # ties go by id
        assert evaluation.tasks[task]["hit@3"] == pytest.approx(np.mean(np.array(ranks) <= 3))


def test_item_with_one_other_modality_ranks_like_its_asset(tmp_path):
    with toy.encoders():
        source = toy.folder(tmp_path / "source")
        indexer.build([source], out=tmp_path / "index", preset="toy", fuse="weighted")
        tasks = retrieval.evaluate(retrieval.open(tmp_path / "index"), ["text-to-image", TASK]).tasks
    assert tasks[TASK] == tasks["text-to-image"]


def test_protocol_describes_the_fusion_of_items(engine):
    protocol = retrieval.evaluate(engine, [TASK], exact=False).protocol
    assert protocol["items"]["rule"].startswith("fused from all modalities except the query's")
    assert protocol["items"]["fusion"] == "weighted"
    assert protocol["exact"]
    assert set(protocol["index"]["vectors"]) == set(engine.modalities)
    other = FittedFusion(
        "concat",
        tuple(engine.modalities),
        registry.fit("concat", Parts.of(held_out(engine), engine.modalities)[0]),
    )
    again = retrieval.evaluate(engine, [TASK], fusion=other).protocol
    assert again["items"]["fusion"] == "concat"
    assert again["items"]["fingerprint"] != protocol["items"]["fingerprint"]
    assert retrieval.evaluate(engine, ["text-to-image"]).protocol["items"] is None
    assert TASK not in retrieval.evaluate(engine).tasks


def test_pool_and_relevance_options_apply_to_items(engine):
    everything = retrieval.evaluate(engine, [TASK], pool="all").tasks[TASK]
    held = retrieval.evaluate(engine, [TASK]).tasks[TASK]
    assert held["pool"] < everything["pool"]
    assert held["queries"] == everything["queries"]
    few = retrieval.evaluate(engine, [TASK], pool="all", where="colour in ('pink', 'white')").tasks[TASK]
    assert few["pool"] == 4
    alike = retrieval.evaluate(engine, [TASK], (10,), pool="all", relevance="colour").tasks[TASK]
    assert alike["recall@10"] > 0.8
    once = retrieval.evaluate(engine, [TASK], captions=1).tasks[TASK]
    assert once["queries"] == held["queries"] - 1


def test_a_run_of_items_has_the_figures_of_the_search(engine, tmp_path):
    searched = retrieval.evaluate(engine, [TASK], pool="all", relevance="colour")
    prepared = searched.task_results[TASK].prepared
    scores, rows = runs.search_results(prepared, 100)
    trec.write_run(tmp_path / "run", prepared.query_names, prepared.pool_names, scores, rows, "t")
    figures = retrieval.evaluate(engine, [TASK], pool="all", relevance="colour", run=tmp_path / "run")
    assert figures.tasks == searched.tasks


def test_hubness_corrections_apply_to_items(engine):
    assert retrieval.evaluate(engine, [TASK], hubness="csls").tasks[TASK]["hit@10"] > 0.5


def test_unusable_item_tasks_are_refused(engine, tmp_path):
    with pytest.raises(OptionError, match="leave out compare"):
        retrieval.evaluate(engine, [TASK], compare=True)
    with pytest.raises(OptionError, match="holds no video"):
        retrieval.evaluate(engine, ["video-to-item"])
    for task in ("item-to-text", "item-to-item"):
        with pytest.raises(OptionError, match="unknown modality 'item'"):
            retrieval.evaluate(engine, [task])
    with toy.encoders():
        indexer.build([toy.folder(tmp_path / "source")], out=tmp_path / "index", preset="toy")
    with pytest.raises(OptionError, match="realign DIR --fuse METHOD"):
        retrieval.evaluate(retrieval.open(tmp_path / "index"), [TASK])


def test_command_prints_and_reports_items(index, tmp_path, capsys):
    report = tmp_path / "report.html"
    assert run(["evaluate", str(index), "--task", TASK, "--report", str(report)]) == 0
    assert "items fused by weighted: fused from all modalities except the query's" in capsys.readouterr().out
    assert "text and item" in report.read_text(encoding="utf-8")
    assert run(["evaluate", str(index), "--task", TASK, "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["tasks"]) == [TASK]
