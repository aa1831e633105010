"""Alignment of up to four modalities when items lack some of them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.alignment.base import Alignment, ClassPrior, FeatureTable, TrainingData
from retrieval.alignment.methods.registry import fit
from retrieval.encoders.base import ClassHead
from retrieval.errors import AlignmentError
from retrieval.types import Integers, Matrix, Modality

SIZES = {Modality.TEXT: 9, Modality.IMAGE: 14, Modality.AUDIO: 11, Modality.VIDEO: 14}
HIDDEN = 4


def features(modality: Modality, hidden: Matrix, seed: int) -> Matrix:
    """Return features of one modality for items with (n, HIDDEN) latent content."""
    number = list(Modality).index(modality)
    weights = np.random.default_rng(number).normal(size=(HIDDEN, SIZES[modality]))
    noise = np.random.default_rng([seed, number]).normal(size=(len(hidden), SIZES[modality]))
    return (hidden @ weights + 0.3 * noise + 1.0).astype(np.float32)


def training_data(
    items_by_modality: dict[Modality, Iterable[int]], prior: ClassPrior | None = None
) -> TrainingData:
    hidden = np.random.default_rng(0).normal(size=(400, HIDDEN))
    tables = {}
    for modality, items in items_by_modality.items():
        rows = np.array(sorted(items), np.int64)
        tables[modality] = FeatureTable(features(modality, hidden, 0)[rows], rows)
    return TrainingData(tables, prior)


def hit_rate(alignment: Alignment, query: Modality, target: Modality) -> float:
    """Return the share of 60 new items whose partner is ranked first."""
    hidden = np.random.default_rng(1).normal(size=(60, HIDDEN))
    rows = [alignment.project(modality, features(modality, hidden, 1)) for modality in (query, target)]
    return float(np.mean((rows[0] @ rows[1].T).argmax(axis=1) == np.arange(60)))


def prior(modality: Modality = Modality.IMAGE) -> ClassPrior:
    random = np.random.default_rng(5)
    head = ClassHead(
        [f"class {i}" for i in range(20)],
        random.normal(size=(20, SIZES[modality])).astype(np.float32),
        np.zeros(20, np.float32),
    )
    return ClassPrior(head, random.normal(size=(20, SIZES[Modality.TEXT])).astype(np.float32), modality)


@pytest.mark.parametrize("method", ["auto", "cca"])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_all_modalities_find_each_other_if_items_have_all_of_them(method: str, count: int) -> None:
    modalities = list(Modality)[-count:]
    alignment = fit(method, training_data(dict.fromkeys(modalities, range(200))))
    for query, target in combinations(modalities, 2):
        assert hit_rate(alignment, query, target) > 0.5
        assert hit_rate(alignment, target, query) > 0.5
    assert len(alignment.report["links"]) == count * (count - 1) / 2


def test_modalities_without_common_items_find_each_other_through_a_third() -> None:
    data = training_data(
        {Modality.AUDIO: range(200), Modality.TEXT: range(400), Modality.VIDEO: range(200, 400)}
    )
    assert hit_rate(fit("auto", data), Modality.AUDIO, Modality.VIDEO) > 0.5


def test_a_modality_without_pairs_can_only_be_searched_within_itself() -> None:
    data = training_data(
        {Modality.IMAGE: range(100), Modality.TEXT: range(100), Modality.AUDIO: range(300, 350)}
    )
    alignment = fit("auto", data)
    assert alignment.report["unconnected"] == ["audio"]
    assert any("audio-" in reason or "-audio" in reason for reason in alignment.report["refused"])
    sounds = alignment.project(Modality.AUDIO, data.tables[Modality.AUDIO].features)
    assert np.array_equal((sounds @ sounds.T).argmax(axis=1), np.arange(50))
    texts = alignment.project(Modality.TEXT, data.tables[Modality.TEXT].features)
    assert not (sounds @ texts.T).any()
    assert hit_rate(alignment, Modality.TEXT, Modality.IMAGE) > 0.5


def test_two_unconnected_pairs_of_modalities_are_aligned_separately() -> None:
    data = training_data(
        {
            Modality.IMAGE: range(200),
            Modality.TEXT: range(200),
            Modality.AUDIO: range(200, 400),
            Modality.VIDEO: range(200, 400),
        }
    )
    alignment = fit("auto", data)
    assert hit_rate(alignment, Modality.IMAGE, Modality.TEXT) > 0.5
    assert hit_rate(alignment, Modality.AUDIO, Modality.VIDEO) > 0.5
    assert set(alignment.report["links"]) == {"image-text", "audio-video"}


def test_a_few_items_of_a_third_modality_do_not_change_the_scores() -> None:
    both = {Modality.IMAGE: range(200), Modality.TEXT: range(200)}
    without_audio, with_audio = (
        fit("auto", training_data(both)),
        fit("auto", training_data({**both, Modality.AUDIO: range(5)})),
    )
    rows = {modality: training_data(both).tables[modality].features for modality in both}
    for one, other in product(both, repeat=2):
        expected, scores = (
            alignment.project(one, rows[one]) @ alignment.project(other, rows[other]).T
            for alignment in (without_audio, with_audio)
        )
        np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_the_class_prior_treats_videos_like_pictures() -> None:
    pictures = training_data({Modality.IMAGE: range(30)}, prior())
    table = pictures.tables[Modality.IMAGE]
    videos = TrainingData({Modality.VIDEO: table}, prior())
    names = np.random.default_rng(3).normal(size=(7, SIZES[Modality.TEXT])).astype(np.float32)
    scores = [
        alignment.project(Modality.TEXT, names) @ alignment.project(modality, table.features).T
        for alignment, modality in (
            (fit("auto", pictures), Modality.IMAGE),
            (fit("auto", videos), Modality.VIDEO),
        )
    ]
    np.testing.assert_array_equal(*scores)


def test_videos_with_another_feature_dimension_do_not_use_the_class_prior() -> None:
    items: Integers = np.arange(30)
    other_table = FeatureTable(np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32), items)
    alignment = fit("auto", TrainingData({Modality.VIDEO: other_table}, prior()))
    assert alignment.report["unconnected"] == ["video"]


def test_chance_correlations_of_a_few_repeated_things_are_not_confirmed() -> None:
    random = np.random.default_rng(0)
    kinds = random.integers(5, size=300)
    hidden = random.normal(size=(5, HIDDEN))[kinds]
    tables = {
        modality: FeatureTable(
            np.hstack([features(modality, hidden, 0), 0.5 * random.normal(size=(300, 40))]).astype(
                np.float32
            ),
            np.arange(300),
        )
        for modality in (Modality.AUDIO, Modality.VIDEO)
    }
    report = fit("auto", TrainingData(tables)).report
    assert report["confirmed"]
    correlations = report["correlations"]
    assert correlations[3] > 0.5  # five kinds differ in four directions
    assert max(correlations[4:], default=0.0) < 0.2


@settings(max_examples=15)
@given(
    present=st.lists(st.frozensets(st.sampled_from(list(Modality)), min_size=1), min_size=1, max_size=12),
    repeats=st.sampled_from([1, 12]),
    with_prior=st.booleans(),
)
def test_any_pattern_of_missing_modalities_can_be_aligned(
    present: list[frozenset[Modality]], repeats: int, with_prior: bool
) -> None:
    items = [modalities for modalities in present for _ in range(repeats)]
    items_by_modality = {
        modality: [number for number, modalities in enumerate(items) if modality in modalities]
        for modality in Modality
        if any(modality in modalities for modalities in items)
    }
    alignment = fit("auto", training_data(items_by_modality, prior() if with_prior else None))
    for modality in items_by_modality:
        hidden = np.random.default_rng(1).normal(size=(5, HIDDEN))
        rows = alignment.project(modality, features(modality, hidden, 1))
        assert rows.shape == (5, alignment.dimension)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)


def test_data_without_items_or_without_pairs_raises() -> None:
    with pytest.raises(AlignmentError, match="index some items"):
        fit("auto", TrainingData({}))
    with pytest.raises(AlignmentError, match="fewer than 2"):
        fit("cca", training_data({Modality.AUDIO: range(3), Modality.VIDEO: range(3, 6)}))
