"""The default methods on toy data: their contract, the sum of cosines, the saved file, hubs, and block weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval.alignment.base import Alignment, ClassPrior, FeatureTable, TrainingData
from retrieval.alignment.cca.folds import assign_folds, pair_rows
from retrieval.alignment.cca.linked_modalities import connect
from retrieval.alignment.cca.similarity_weights import fit_weights
from retrieval.alignment.class_prior import FeatureMap
from retrieval.alignment.maps.projector import Projector, identity_block
from retrieval.alignment.maps.query_bank import CONSTANT, neighbour_similarity
from retrieval.alignment.methods.hub_correction import correct_hubs
from retrieval.alignment.methods.registry import METHODS, fit
from retrieval.arrays.norms import unit
from retrieval.encoders.base import ClassHead
from retrieval.errors import AlignmentError, DamagedIndexError, OptionError
from retrieval.types import Matrix, Modality

CLASSES, TEXT, IMAGE = 30, 16, 40
RANDOM = np.random.default_rng(7)
NAMES = RANDOM.normal(size=(CLASSES, TEXT)).astype(np.float32)
HEAD = ClassHead(
    [f"class {i}" for i in range(CLASSES)],
    RANDOM.normal(size=(CLASSES, IMAGE)).astype(np.float32),
    RANDOM.normal(size=CLASSES).astype(np.float32),
)
PRIOR = ClassPrior(HEAD, NAMES)


def images_and_captions(count: int, seed: int = 0) -> tuple[Matrix, Matrix]:
    """Images near the head's weight rows of random classes, and captions near the names of these classes."""
    random = np.random.default_rng(seed)
    label = random.integers(CLASSES, size=count)
    hidden = random.normal(size=(count, 6))
    image = HEAD.weights[label] + hidden @ np.random.default_rng(1).normal(size=(6, IMAGE))
    text = NAMES[label] + hidden @ np.random.default_rng(2).normal(size=(6, TEXT))
    return image.astype(np.float32), text.astype(np.float32)


def training_data(count: int, prior: ClassPrior | None = PRIOR) -> TrainingData:
    image, text = images_and_captions(count)
    items = np.arange(count)
    return TrainingData(
        {Modality.IMAGE: FeatureTable(image, items), Modality.TEXT: FeatureTable(text, items)}, prior
    )


def hit_rate(alignment: Alignment, seed: int = 99, k: int = 5) -> float:
    image, text = images_and_captions(100, seed)
    scores = alignment.project(Modality.TEXT, text) @ alignment.project(Modality.IMAGE, image).T
    return float(np.mean((scores > np.diagonal(scores)[:, None]).sum(axis=1) < k))


DEFAULT_METHODS = ["auto", "cca", "conse"]
"""The default method and its ingredients; ``test_methods_on_hard_data`` tests the contract of all methods."""


@pytest.fixture(scope="module", params=DEFAULT_METHODS)
def fitted(request: pytest.FixtureRequest) -> Alignment:
    return fit(request.param, training_data(200))


def test_the_default_methods_are_registered() -> None:
    assert set(DEFAULT_METHODS) <= set(METHODS)


def test_rows_are_unit_and_finite(fitted: Alignment) -> None:
    image, text = images_and_captions(50, 3)
    for modality, features in ((Modality.IMAGE, image), (Modality.TEXT, text)):
        rows = fitted.project(modality, features)
        assert rows.dtype == np.float32
        assert rows.shape == (50, fitted.dimension)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
        assert np.isfinite(fitted.project(modality, np.zeros_like(features))).all()
        assert fitted.project(modality, features[:0]).shape == (0, fitted.dimension)


def test_a_saved_alignment_projects_bit_for_bit_as_before(fitted: Alignment, tmp_path: Path) -> None:
    path = tmp_path / "alignment.safetensors"
    fitted.save(path)
    loaded = Alignment.load(path)
    image, text = images_and_captions(20, 3)
    assert np.array_equal(loaded.project(Modality.IMAGE, image), fitted.project(Modality.IMAGE, image))
    assert np.array_equal(loaded.project(Modality.TEXT, text), fitted.project(Modality.TEXT, text))
    assert (loaded.method, loaded.fingerprint, loaded.report) == (
        fitted.method,
        fitted.fingerprint,
        fitted.report,
    )


def test_fitting_twice_gives_the_same_alignment(fitted: Alignment) -> None:
    assert fit(fitted.method, training_data(200)).fingerprint == fitted.fingerprint


def test_features_of_a_wrong_dimension_or_modality_are_refused(fitted: Alignment) -> None:
    with pytest.raises(AlignmentError, match="use the encoder"):
        fitted.project(Modality.TEXT, np.zeros((2, TEXT + 1), np.float32))
    with pytest.raises(AlignmentError, match="not for audio"):
        fitted.project(Modality.AUDIO, np.zeros((2, TEXT), np.float32))


def test_auto_is_at_least_as_good_as_the_prior_or_the_pairs_alone() -> None:
    rates = {method: hit_rate(fit(method, training_data(200))) for method in DEFAULT_METHODS}
    assert rates["auto"] >= max(rates["cca"], rates["conse"])


@pytest.mark.parametrize("count", [0, 1, 2, 5, 20, 30])
@pytest.mark.parametrize("prior", [PRIOR, None])
def test_auto_accepts_any_number_of_pairs(count: int, prior: ClassPrior | None) -> None:
    alignment = fit("auto", training_data(count, prior))
    assert np.isfinite(hit_rate(alignment))
    assert alignment.report["pairs"] == count
    connected = prior is not None or count > 1
    assert ("unconnected" in alignment.report) is not connected


def test_duplicates_and_constant_features_give_finite_results_or_a_reason() -> None:
    data = training_data(30)
    image, text = (data.tables[modality].features for modality in (Modality.IMAGE, Modality.TEXT))
    image[:, 3], text[:, 2] = 1.0, 0.0
    image[10:20], text[10:20] = image[0], text[0]
    assert np.isfinite(hit_rate(fit("auto", data)))
    image[:], text[:] = image[0], text[0]
    alignment = fit("auto", data)
    assert "does not vary" in alignment.report["reason"]
    with pytest.raises(AlignmentError, match="does not vary"):
        fit("cca", data)


@pytest.mark.parametrize("modality", [Modality.TEXT, Modality.IMAGE])
@pytest.mark.parametrize("prior", [PRIOR, None])
def test_a_single_modality_finds_its_own_rows(modality: Modality, prior: ClassPrior | None) -> None:
    data = training_data(50)
    alignment = fit("auto", TrainingData({modality: data.tables[modality]}, prior))
    rows = alignment.project(modality, data.tables[modality].features)
    scores = rows @ rows.T
    assert np.array_equal(scores.argmax(axis=1), np.arange(50))


def test_all_captions_of_an_item_are_used() -> None:
    image, text = images_and_captions(40)
    tables = {
        Modality.IMAGE: FeatureTable(image, np.arange(40)),
        Modality.TEXT: FeatureTable(np.repeat(text, 2, axis=0), np.repeat(np.arange(40), 2)),
    }
    (link,) = fit("auto", TrainingData(tables, PRIOR)).report["links"].values()
    assert (link["pairs"], link["items"]) == (80, 40)


def test_blocks_add_up_to_a_weighted_sum_of_cosines() -> None:
    alignment = fit("auto", training_data(100))
    image, text = images_and_captions(10, 5)
    mapped = [
        alignment.projectors[m].project_blocks(x) for m, x in ((Modality.IMAGE, image), (Modality.TEXT, text))
    ]
    weights = list(alignment.report["weights"].values())
    expected = sum(w * a @ b.T for w, a, b in zip(weights, *mapped, strict=True))
    plain = {
        modality: replace(projector, banks=(), bank_columns=0)
        for modality, projector in alignment.projectors.items()
    }
    scores = plain[Modality.IMAGE].project(image) @ plain[Modality.TEXT].project(text).T
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_hub_correction_follows_csls_across_modalities_and_hardly_changes_scores_within_one() -> None:
    random = np.random.default_rng(5)
    plain = {
        modality: Projector(8, (identity_block(8),), np.ones(1, np.float32))
        for modality in (Modality.TEXT, Modality.IMAGE)
    }
    tables = {
        modality: FeatureTable(random.normal(size=(40, 8)).astype(np.float32), np.arange(40))
        for modality in plain
    }
    connections = connect(tables, {modality: FeatureMap(8) for modality in plain}, ())
    corrected = correct_hubs(plain, connections, seed=0)
    x, y = (unit(random.normal(size=(30, 8)).astype(np.float32)) for _ in range(2))
    first, second = connections.modalities
    bank = {modality: unit(table.features) for modality, table in tables.items()}
    csls = x @ y.T - 0.5 * (
        neighbour_similarity(x @ bank[second].T)[:, None] + neighbour_similarity(y @ bank[first].T)[None]
    )
    rows = corrected[first].project(x), corrected[second].project(y)
    weight, [first_bank], [second_bank] = np.float32(0.5), corrected[first].banks, corrected[second].banks
    excess = (
        weight * (neighbour_similarity(x @ first_bank.rows.T) - first_bank.mean_similarity),
        weight * (neighbour_similarity(y @ second_bank.rows.T) - second_bank.mean_similarity),
    )
    norms = [np.sqrt(1 + CONSTANT**2 + (each / CONSTANT) ** 2) for each in excess]
    exact = (x @ y.T - excess[0][:, None] - excess[1][None]) / (norms[0][:, None] * norms[1][None])
    np.testing.assert_allclose(rows[0] @ rows[1].T, exact, atol=1e-5)
    assert np.corrcoef(csls.ravel(), (rows[0] @ rows[1].T).ravel())[0, 1] > 0.9998
    assert np.corrcoef((x @ x.T).ravel(), (rows[0] @ rows[0].T).ravel())[0, 1] > 0.99
    assert not corrected[first].project(np.zeros((1, 8), np.float32)).any()


def test_a_modality_without_links_gets_no_hub_correction() -> None:
    data = training_data(100)
    alone = FeatureTable(
        np.random.default_rng(0).normal(size=(30, 12)).astype(np.float32), np.arange(1000, 1030)
    )
    alignment = fit("auto", TrainingData({**data.tables, Modality.AUDIO: alone}, PRIOR))
    columns = alignment.projectors[Modality.IMAGE].bank_columns
    assert columns == 2
    audio = alignment.project(Modality.AUDIO, alone.features)
    assert not audio[:, -columns:].any()
    assert not (audio @ alignment.project(Modality.TEXT, data.tables[Modality.TEXT].features).T).any()


def with_audio(count: int, of: int, noise: float) -> TrainingData:
    """Captioned images; one in ``of`` has audio, which is related to the caption or, with much noise, is not."""
    data = training_data(count)
    random = np.random.default_rng(7)
    features = data.tables[Modality.TEXT].features[::of]
    signal = features @ random.standard_normal((features.shape[1], 30)) / 5
    audio = (signal + noise * random.standard_normal(signal.shape)).astype(np.float32)
    tables = {**data.tables, Modality.AUDIO: FeatureTable(audio, np.arange(0, count, of))}
    return TrainingData(tables, PRIOR)


def test_noisy_audio_does_not_harm_retrieval_between_text_and_images() -> None:
    alone, with_noise = fit("auto", training_data(400)), fit("auto", with_audio(400, 3, 100.0))
    rates = [np.mean([hit_rate(each, seed) for seed in range(90, 100)]) for each in (alone, with_noise)]
    assert rates[1] >= rates[0] - 0.01


def test_a_link_that_is_better_alone_gets_its_own_part_beside_the_common_part() -> None:
    alignment = fit("auto", with_audio(400, 3, 100.0))
    assert "core" in alignment.report
    assert list(alignment.report["weights"])[-2:] == ["cca image-text", "cca"]
    parts = alignment.projectors[Modality.AUDIO].project_blocks(np.ones((1, 30), np.float32))
    scales = alignment.projectors[Modality.AUDIO].scales
    assert np.allclose(
        [scale * np.linalg.norm(part) for scale, part in zip(scales, parts, strict=True)][-1], 1
    )


def test_conse_mixes_the_names_of_the_likeliest_classes() -> None:
    alignment = fit("conse", training_data(0))
    image, text = images_and_captions(5, 3)
    names = unit(NAMES)
    common = names.mean(axis=0)
    for row, projected in zip(image, alignment.project(Modality.IMAGE, image), strict=True):
        logits = HEAD.weights @ row + HEAD.bias
        top = np.argsort(-logits)[:10]
        shares = np.exp(logits[top] - logits[top].max())
        mixed = shares @ unit(names - common)[top]
        np.testing.assert_allclose(projected, mixed / np.linalg.norm(mixed), atol=1e-5)
    np.testing.assert_allclose(alignment.project(Modality.TEXT, text), unit(unit(text) - common), atol=1e-5)


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"auto.*conse.*cca"):
        fit("magic", training_data(5))
    with pytest.raises(AlignmentError, match="classifier"):
        fit("conse", training_data(5, None))
    with pytest.raises(DamagedIndexError, match="fit it again"):
        Alignment.load(tmp_path / "missing.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a tensor")
    with pytest.raises(DamagedIndexError, match="fit it again"):
        Alignment.load(broken)


def test_join_pairs_every_row_with_its_item() -> None:
    first, second = np.array([3, 1, 7, 1]), np.array([1, 3, 1, 9])
    rows = pair_rows(first, second)
    pairs = set(zip(*(side.tolist() for side in rows), strict=True))
    assert pairs == {(i, j) for i in range(4) for j in range(4) if first[i] == second[j]}


def test_all_pairs_of_an_item_are_in_one_fold() -> None:
    items = np.repeat(np.arange(50), 3)
    fold = assign_folds(items, 5, 0)
    assert all(len(set(fold[items == item])) == 1 for item in range(50))
    assert np.bincount(fold).tolist() == [30] * 5


def test_blocks_without_information_get_little_weight() -> None:
    random = np.random.default_rng(0)
    useful = 0.3 * np.eye(40) + 0.1 * random.normal(size=(40, 40))
    evidence = fit_weights([np.stack([useful, 0.1 * random.normal(size=(40, 40))]).astype(np.float32)])
    assert evidence.weights[0] > 10 * evidence.weights[1]
    assert 0 < evidence.loss < np.log(40)
    assert 0 < evidence.mrr <= 1
