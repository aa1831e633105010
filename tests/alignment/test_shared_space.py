"""Modalities that share a space stay unchanged; other modalities are mapped into it from their pairs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from retrieval.alignment.base import Alignment, FeatureTable, TrainingData
from retrieval.alignment.methods.registry import fit
from retrieval.alignment.methods.shared_space import shared_modalities
from retrieval.arrays.norms import unit
from retrieval.types import Matrix, Modality

SIZE, AUDIO_SIZE = 12, 20
RANDOM = np.random.default_rng(3)
AUDIO_WEIGHTS = RANDOM.normal(size=(4, AUDIO_SIZE))


def feature_rows(count: int, seed: int) -> tuple[Matrix, Matrix, Matrix]:
    """Return pictures and texts in one space, and audio that depends on four of its directions."""
    random = np.random.default_rng(seed)
    image = random.normal(size=(count, SIZE)) + 0.5
    text = image + 0.3 * random.normal(size=(count, SIZE))
    audio = image[:, :4] @ AUDIO_WEIGHTS + 0.3 * random.normal(size=(count, AUDIO_SIZE)) + 2
    return image.astype(np.float32), text.astype(np.float32), audio.astype(np.float32)


def fit_rows(count: int, method: str = "auto") -> Alignment:
    image, text, audio = feature_rows(count, 0)
    items = np.arange(count)
    tables = {Modality.IMAGE: FeatureTable(image, items), Modality.TEXT: FeatureTable(text, items)}
    if method == "auto":
        tables[Modality.AUDIO] = FeatureTable(audio, items)
    return fit(method, TrainingData(tables, shared=frozenset({Modality.TEXT, Modality.IMAGE})))


def hit_rate(scores: Matrix, k: int = 5) -> float:
    return float(np.mean((scores > np.diagonal(scores)[:, None]).sum(axis=1) < k))


def test_shared_modalities_are_unchanged_and_audio_is_mapped_into_their_space() -> None:
    image, text, audio = feature_rows(50, 1)
    alignment = fit_rows(300)
    assert alignment.dimension == SIZE
    assert_allclose(alignment.project(Modality.IMAGE, image), unit(image), atol=1e-6)
    assert_allclose(alignment.project(Modality.TEXT, text), unit(text), atol=1e-6)
    projected = alignment.project(Modality.AUDIO, audio)
    for shared in (image, text):
        assert hit_rate(projected @ unit(shared).T) > 0.6  # by chance 0.1
        assert hit_rate(unit(shared) @ projected.T) > 0.5


def test_a_few_pairs_are_enough_and_without_pairs_audio_gets_its_own_columns() -> None:
    assert fit_rows(8).report["links"]["audio-shared"]["items"] == 8
    image, text, audio = feature_rows(5, 0)
    other_items = np.arange(5) + 100
    tables = {
        Modality.IMAGE: FeatureTable(image, np.arange(5)),
        Modality.AUDIO: FeatureTable(audio, other_items),
    }
    alignment = fit("auto", TrainingData(tables, shared=frozenset({Modality.TEXT, Modality.IMAGE})))
    assert alignment.report["unconnected"] == ["audio"]
    assert alignment.dimension == SIZE + AUDIO_SIZE
    assert not np.any(alignment.project(Modality.AUDIO, audio) @ alignment.project(Modality.IMAGE, image).T)
    assert_allclose(np.linalg.norm(alignment.project(Modality.TEXT, text), axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("method", ["auto", "identity"])
def test_texts_find_pictures_without_captions(method: str) -> None:
    image, text, _ = feature_rows(30, 0)
    tables = {Modality.IMAGE: FeatureTable(image, np.arange(30))}
    alignment = fit(method, TrainingData(tables, shared=frozenset({Modality.TEXT, Modality.IMAGE})))
    assert hit_rate(alignment.project(Modality.TEXT, text) @ alignment.project(Modality.IMAGE, image).T) > 0.9


def test_modalities_share_a_space_if_model_weights_and_dimension_are_equal() -> None:
    text = (Modality.TEXT, "clip:small", "ab", 24)
    image = (Modality.IMAGE, "clip:small", "ab", 24)
    video = (Modality.VIDEO, "frames:clip:small", "ab", 24)
    audio = (Modality.AUDIO, "acoustic", "cd", 24)
    assert shared_modalities([text, image, video, audio]) == {Modality.TEXT, Modality.IMAGE, Modality.VIDEO}
    assert shared_modalities([text, (Modality.IMAGE, "clip:small", "other", 24), audio]) == frozenset()
    assert shared_modalities([image, video]) == frozenset()
