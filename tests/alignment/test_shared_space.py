"""What is of one space stays as it is; what is not is brought into it by what it has in common with it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from retrieval.alignment.base import Alignment, FeatureTable, TrainingData
from retrieval.alignment.methods.shared_space import shared_modalities
from retrieval.alignment.registry import fit
from retrieval.arrays.norms import unit
from retrieval.types import Matrix, Modality

SIZE, SOUND = 12, 20
RANDOM = np.random.default_rng(3)
HEARD = RANDOM.normal(size=(4, SOUND))


def rows(count: int, seed: int) -> tuple[Matrix, Matrix, Matrix]:
    """Pictures and texts of one space, four of whose directions can be heard as well."""
    random = np.random.default_rng(seed)
    image = random.normal(size=(count, SIZE)) + 0.5
    text = image + 0.3 * random.normal(size=(count, SIZE))
    audio = image[:, :4] @ HEARD + 0.3 * random.normal(size=(count, SOUND)) + 2
    return image.astype(np.float32), text.astype(np.float32), audio.astype(np.float32)


def fitted(count: int, method: str = "auto") -> Alignment:
    image, text, audio = rows(count, 0)
    items = np.arange(count)
    tables = {Modality.IMAGE: FeatureTable(image, items), Modality.TEXT: FeatureTable(text, items)}
    if method == "auto":
        tables[Modality.AUDIO] = FeatureTable(audio, items)
    return fit(method, TrainingData(tables, shared=frozenset({Modality.TEXT, Modality.IMAGE})))


def hits(scores: Matrix, k: int = 5) -> float:
    return float(np.mean((scores > np.diagonal(scores)[:, None]).sum(axis=1) < k))


def test_what_is_shared_is_not_touched() -> None:
    image, text, audio = rows(50, 1)
    alignment = fitted(300)
    assert alignment.dimension == SIZE
    assert_allclose(alignment.project(Modality.IMAGE, image), unit(image), atol=1e-6)
    assert_allclose(alignment.project(Modality.TEXT, text), unit(text), atol=1e-6)
    heard = alignment.project(Modality.AUDIO, audio)
    for seen in (image, text):
        assert hits(heard @ unit(seen).T) > 0.6  # by chance 0.1
        assert hits(unit(seen) @ heard.T) > 0.5


def test_a_few_pairs_serve_and_none_leave_columns_of_its_own() -> None:
    assert fitted(8).report["links"]["audio-shared"]["items"] == 8
    image, text, audio = rows(5, 0)
    apart = np.arange(5) + 100
    tables = {
        Modality.IMAGE: FeatureTable(image, np.arange(5)),
        Modality.AUDIO: FeatureTable(audio, apart),
    }
    alignment = fit("auto", TrainingData(tables, shared=frozenset({Modality.TEXT, Modality.IMAGE})))
    assert alignment.report["unconnected"] == ["audio"]
    assert alignment.dimension == SIZE + SOUND
    assert not np.any(alignment.project(Modality.AUDIO, audio) @ alignment.project(Modality.IMAGE, image).T)
    assert_allclose(np.linalg.norm(alignment.project(Modality.TEXT, text), axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("method", ["auto", "identity"])
def test_words_find_pictures_that_nobody_described(method: str) -> None:
    image, text, _ = rows(30, 0)
    tables = {Modality.IMAGE: FeatureTable(image, np.arange(30))}
    alignment = fit(method, TrainingData(tables, shared=frozenset({Modality.TEXT, Modality.IMAGE})))
    assert hits(alignment.project(Modality.TEXT, text) @ alignment.project(Modality.IMAGE, image).T) > 0.9


def test_one_model_by_name_weights_and_dimension() -> None:
    text = (Modality.TEXT, "clip:small", "ab", 24)
    image = (Modality.IMAGE, "clip:small", "ab", 24)
    video = (Modality.VIDEO, "frames:clip:small", "ab", 24)
    audio = (Modality.AUDIO, "acoustic", "cd", 24)
    assert shared_modalities([text, image, video, audio]) == {Modality.TEXT, Modality.IMAGE, Modality.VIDEO}
    assert shared_modalities([text, (Modality.IMAGE, "clip:small", "other", 24), audio]) == frozenset()
    assert shared_modalities([image, video]) == frozenset()
