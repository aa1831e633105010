"""Parts of assets: how alignments read them, and pooling them with trained weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import retrieval
from indexer.cli.main import run
from retrieval.alignment.base import Alignment, ClassPrior, FeatureTable, TrainingData
from retrieval.alignment.cca import model_selection
from retrieval.alignment.maps.pooling import PartPooling
from retrieval.alignment.methods import dcca, kcca, part_attention
from retrieval.alignment.methods.registry import METHODS, fit
from retrieval.alignment.trained.attention_queries import AttentionQueries
from retrieval.arrays.norms import unit
from retrieval.encoders.base import ClassHead, PartLayout
from retrieval.errors import AlignmentError
from retrieval.types import Matrix, Modality
from tests.helpers import toy
from tests.helpers.pictures import noise

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE
PARTS = PartLayout.after_whole(20, 9, 20)
CELL_BASIS = np.random.default_rng(1).normal(size=(6, 20))
TEXT_BASIS = np.random.default_rng(2).normal(size=(6, 12))
MARK = 6 * unit(np.random.default_rng(3).normal(size=(1, 20)))[0]


def marked_cells(count: int, seed: int) -> dict[Modality, Matrix]:
    """Texts, and images of 9 cells. One random cell shows what the text describes, the others show something else.

    The cell that matters is marked, and the row of the whole image is the mean of the cells.
    """
    random = np.random.default_rng(seed)
    described = random.normal(size=(count, 6))
    shown = random.normal(size=(count, 9, 6))
    place = np.arange(count), random.integers(9, size=count)
    shown[place] = described
    cells = shown @ CELL_BASIS + 0.2 * random.normal(size=(count, 9, 20))
    cells[place] += MARK
    text = described @ TEXT_BASIS + 0.2 * random.normal(size=(count, 12))
    image = np.concatenate([cells.mean(axis=1), cells.reshape(count, -1)], axis=1)
    return {TEXT: text.astype(np.float32), IMAGE: image.astype(np.float32)}


@pytest.fixture
def small_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer fewer settings to choose from, because the choice is not tested here."""
    monkeypatch.setattr(model_selection, "POWERS", (1.0,))
    monkeypatch.setattr(kcca, "WIDTHS", (1.0,))
    monkeypatch.setattr(dcca, "OUTPUTS", (8,))
    monkeypatch.setattr(part_attention, "ROUNDS", 3)


def training_data(features: dict[Modality, Matrix], **more: object) -> TrainingData:
    tables = {each: FeatureTable(rows, np.arange(len(rows))) for each, rows in features.items()}
    return replace(TrainingData(tables, parts={IMAGE: PARTS}), **more)


def hit_rate(alignment: Alignment) -> float:
    """Hit@1 among 60 items that were not used for training."""
    rows = marked_cells(60, 9)
    scores = alignment.project(TEXT, rows[TEXT]) @ alignment.project(IMAGE, rows[IMAGE]).T
    return float(np.mean(scores.argmax(axis=1) == np.arange(60)))


@pytest.fixture(scope="module")
def attention() -> Alignment:
    return fit("attention", training_data(marked_cells(300, 0)))


def test_the_part_that_matters_is_found_at_any_position(attention: Alignment) -> None:
    others = [hit_rate(fit(name, training_data(marked_cells(300, 0)))) for name in ("cca", "contrastive")]
    mean = PartPooling(PARTS, np.zeros(20, np.float32))
    pooled = fit("cca", training_data(marked_cells(300, 0)).pooled({IMAGE: mean}))
    others.append(hit_rate(pooled.with_pooling({IMAGE: mean})))
    assert max(others) < 0.2
    assert hit_rate(attention) > 0.9
    rows = marked_cells(60, 9)[IMAGE]
    marked = (PARTS.split(rows) @ MARK).argmax(axis=1)
    assert np.mean(attention.poolings[IMAGE].weights(rows).argmax(axis=1) == marked) > 0.95


def test_it_is_saved_exactly_and_in_a_format_that_older_versions_refuse(
    attention: Alignment, tmp_path: Path
) -> None:
    attention.save(tmp_path / "alignment")
    loaded = Alignment.load(tmp_path / "alignment")
    rows = marked_cells(50, 4)
    for each in (TEXT, IMAGE):
        assert_array_equal(loaded.project(each, rows[each]), attention.project(each, rows[each]))
    assert (loaded.fingerprint, loaded._format) == (attention.fingerprint, 4)
    assert fit("attention", training_data(marked_cells(300, 0))).fingerprint == attention.fingerprint
    other = replace(attention, poolings={IMAGE: PartPooling(PARTS, np.zeros(20, np.float32))})
    assert other.fingerprint != attention.fingerprint


def test_rows_with_another_layout_are_refused(attention: Alignment) -> None:
    with pytest.raises(AlignmentError, match=r"fitted on 200 columns.*use the encoder"):
        attention.project(IMAGE, np.zeros((1, 20), np.float32))


def test_a_zero_query_pools_parts_to_their_mean() -> None:
    rows = marked_cells(30, 0)[IMAGE]
    rows[3, 60:] = 0  # two parts are left
    rows[4, 20:] = 0  # no part is left
    pooled = PartPooling(PARTS, np.zeros(20, np.float32))(rows)
    assert_array_equal(pooled[:, :20], rows[:, :20])
    assert_allclose(pooled[:3, 20:], PARTS.split(rows)[:3].mean(axis=1), atol=1e-5)
    assert_allclose(pooled[3, 20:], PARTS.split(rows)[3, :2].mean(axis=0), atol=1e-5)
    assert not pooled[4, 20:].any()


def test_absent_parts_have_no_weight_at_any_position() -> None:
    random = np.random.default_rng(0)
    rows, query = marked_cells(5, 0)[IMAGE], 8 * random.normal(size=20).astype(np.float32)
    with_absent = rows.copy()
    with_absent[:, 20:].reshape(5, 9, 20)[:, [0, 3, 8]] = 0
    remaining = np.concatenate(
        [rows[:, :20], PARTS.split(rows)[:, [1, 2, 4, 5, 6, 7]].reshape(5, -1)], axis=1
    )
    assert_allclose(
        PartPooling(PARTS, query)(with_absent),
        PartPooling(PartLayout.after_whole(20, 6, 20), query)(remaining),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize(
    "parts",
    [PARTS, PartLayout(200, 0, 10, 20)],
    ids=["parts beside the whole", "parts that make up the whole"],
)
def test_pooling_in_training_equals_pooling_in_numpy(parts: PartLayout) -> None:
    rows = marked_cells(40, 0)[IMAGE]
    rows[3, 60:], rows[4, 20:], rows[5] = 0, 0, 0
    rows[:5] /= np.linalg.norm(rows[:5, : parts.whole], axis=1, keepdims=True)
    rows[6:] /= np.linalg.norm(rows[6:, : parts.whole], axis=1, keepdims=True)
    module = AttentionQueries([parts, None])
    with torch.no_grad():
        module.raw_queries[0].normal_(std=0.1, generator=torch.Generator().manual_seed(0))
        pooled = module.pooled(0, rows).numpy()
    assert_allclose(unit(PartPooling(parts, module.queries()[0])(rows)), pooled, atol=1e-5)


@pytest.mark.usefixtures("small_settings")
@pytest.mark.parametrize("method", sorted(set(METHODS) - {"attention", "identity"}))
def test_other_methods_use_only_the_row_of_the_whole_asset(method: str, tmp_path: Path) -> None:
    rows = marked_cells(40, 0)
    random = np.random.default_rng(5)
    head = ClassHead([f"class {each}" for each in range(10)], random.normal(size=(10, 200)), np.zeros(10))
    names = random.normal(size=(10, 12)).astype(np.float32)
    text_parts = PartLayout.after_whole(12, 3, 5)  # texts have parts, too
    text_with_parts = np.hstack([rows[TEXT], random.normal(size=(40, 15)).astype(np.float32)])
    data = replace(
        training_data({TEXT: text_with_parts, IMAGE: rows[IMAGE]}),
        prior=ClassPrior(head, np.hstack([names, random.normal(size=(10, 15)).astype(np.float32)])),
        parts={IMAGE: PARTS, TEXT: text_parts},
    )
    whole = replace(
        training_data({TEXT: rows[TEXT], IMAGE: rows[IMAGE][:, :20]}, parts={}),
        prior=ClassPrior(replace(head, weights=head.weights[:, :20]), names),
    )
    fitted, plain = fit(method, data), fit(method, whole)
    assert fitted.report == plain.report
    fitted.save(tmp_path / "alignment")
    for alignment in (fitted, Alignment.load(tmp_path / "alignment")):
        assert_array_equal(alignment.project(TEXT, text_with_parts), plain.project(TEXT, rows[TEXT]))
        assert_array_equal(alignment.project(IMAGE, rows[IMAGE]), plain.project(IMAGE, rows[IMAGE][:, :20]))


def test_without_parts_it_equals_cca_and_reports_the_reason() -> None:
    rows = marked_cells(60, 0)
    plain = training_data({TEXT: rows[TEXT], IMAGE: rows[IMAGE][:, :20]}, parts={})
    attention, cca = fit("attention", plain), fit("cca", plain)
    assert_array_equal(attention.project(TEXT, rows[TEXT]), cca.project(TEXT, rows[TEXT]))
    assert "no parts" in attention.report["reason"]


def few_items(rows: dict[Modality, Matrix]) -> TrainingData:
    return training_data({modality: features[:20] for modality, features in rows.items()})


def very_few_items(rows: dict[Modality, Matrix]) -> TrainingData:
    return training_data({modality: features[:6] for modality, features in rows.items()})


def duplicates(rows: dict[Modality, Matrix]) -> TrainingData:
    for features in rows.values():
        features[5:25] = features[5]
    return training_data(rows)


def constant(rows: dict[Modality, Matrix]) -> TrainingData:
    rows[IMAGE][:, 3], rows[IMAGE][:, 25] = 5, 0
    return training_data(rows)


def identical_parts(rows: dict[Modality, Matrix]) -> TrainingData:
    rows[IMAGE][:, 20:] = 1
    return training_data(rows)


def absent_parts(rows: dict[Modality, Matrix]) -> TrainingData:
    rows[IMAGE][:, 20:] = 0
    rows[IMAGE][7] = 0
    return training_data(rows)


def partly_unpaired(rows: dict[Modality, Matrix]) -> TrainingData:
    """One item has only captions, one only an image, and each item has two captions."""
    data = training_data(rows)
    text = FeatureTable(np.repeat(rows[TEXT][1:], 2, axis=0), np.repeat(np.arange(1, 40), 2))
    image = FeatureTable(rows[IMAGE][:-1], np.arange(39))
    return replace(data, tables={TEXT: text, IMAGE: image})


def images_only(rows: dict[Modality, Matrix]) -> TrainingData:
    return training_data({IMAGE: rows[IMAGE]})


@pytest.mark.usefixtures("small_settings")
@pytest.mark.parametrize(
    "hard",
    [
        few_items,
        very_few_items,
        duplicates,
        constant,
        identical_parts,
        absent_parts,
        partly_unpaired,
        images_only,
    ],
)
def test_it_gives_finite_rows_on_difficult_data(hard: object) -> None:
    data = hard(marked_cells(40, 0))  # type: ignore[operator]
    alignment = fit("attention", data)
    for modality, table in data.tables.items():
        assert np.isfinite(alignment.project(modality, table.features)).all()


@pytest.mark.usefixtures("small_settings")
def test_index_search_and_realign_with_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_attention, "ROUNDS", 1)
    source, out = tmp_path / "source", str(tmp_path / "index")
    source.mkdir()
    for name, colour in toy.COLOURS.items():
        for size in (40, 60, 80):
            image = noise(size, size)
            image.paste(colour, (5, 5, size // 2, size // 2))
            image.save(source / f"{name} {size}.png")
            (source / f"{name} {size}.txt").write_text(f"A {name} square of {size} pixels.")
    assert run(["index", str(source), "--out", out, "--preset", "parts", "--align", "attention"]) == 0
    manifest = json.loads((tmp_path / "index/manifest.json").read_text())
    assert manifest["alignment"]["method"] == "attention"
    assert len(manifest["alignment"]["report"]["validation_losses"]) == 2
    assert manifest["features"][f"image-{manifest['encoders']['image']['fingerprint']}"]["dimension"] == 13184
    capsys.readouterr()
    assert run(["search", out, "--text", "A green square of 60 pixels.", "--to", "image", "--json"]) == 0
    assert "green 60" in [hit["id"] for hit in json.loads(capsys.readouterr().out)][:3]
    assert run(["search", out, "--image", str(source / "red 80.png"), "--to", "text", "--json"]) == 0
    assert "red 80" in [hit["id"] for hit in json.loads(capsys.readouterr().out)][:3]
    engine = retrieval.open(out)
    assert engine.image_to_image(source / "blue 40.png", k=1)[0].score == pytest.approx(1, abs=1e-3)
    hits = engine.text_to_image("blue", k=30)
    scores = engine.index.modality_index(IMAGE).index.vectors(np.arange(30)) @ engine.encode(text=["blue"])[0]
    assert_allclose([hit.score for hit in hits], np.sort(scores)[::-1], atol=1e-2)
    assert run(["realign", out, "--align", "cca"]) == 0  # uses only the row of the whole
    assert retrieval.open(out).text_to_image("blue", k=3)[0].modality == "image"
