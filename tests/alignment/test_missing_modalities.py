"""Alignment of up to four modalities, any of which an item may lack."""

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
    """What a modality shows of what items are about, (n, HIDDEN)."""
    number = list(Modality).index(modality)
    shown = np.random.default_rng(number).normal(size=(HIDDEN, SIZES[modality]))
    noise = np.random.default_rng([seed, number]).normal(size=(len(hidden), SIZES[modality]))
    return (hidden @ shown + 0.3 * noise + 1.0).astype(np.float32)


def training(has: dict[Modality, Iterable[int]], prior: ClassPrior | None = None) -> TrainingData:
    hidden = np.random.default_rng(0).normal(size=(400, HIDDEN))
    tables = {}
    for modality, items in has.items():
        rows = np.array(sorted(items), np.int64)
        tables[modality] = FeatureTable(features(modality, hidden, 0)[rows], rows)
    return TrainingData(tables, prior)


def found(alignment: Alignment, query: Modality, target: Modality) -> float:
    """Share of new items whose partner is the first of 60."""
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
def test_all_find_all_where_items_have_everything(method: str, count: int) -> None:
    modalities = list(Modality)[-count:]
    alignment = fit(method, training(dict.fromkeys(modalities, range(200))))
    for query, target in combinations(modalities, 2):
        assert found(alignment, query, target) > 0.5
        assert found(alignment, target, query) > 0.5
    assert len(alignment.report["links"]) == count * (count - 1) / 2


def test_modalities_that_never_meet_find_each_other_through_a_third() -> None:
    data = training({Modality.AUDIO: range(200), Modality.TEXT: range(400), Modality.VIDEO: range(200, 400)})
    assert found(fit("auto", data), Modality.AUDIO, Modality.VIDEO) > 0.5


def test_who_meets_nobody_is_searched_alone() -> None:
    data = training({Modality.IMAGE: range(100), Modality.TEXT: range(100), Modality.AUDIO: range(300, 350)})
    alignment = fit("auto", data)
    assert alignment.report["unconnected"] == ["audio"]
    assert any("audio-" in reason or "-audio" in reason for reason in alignment.report["refused"])
    sounds = alignment.project(Modality.AUDIO, data.tables[Modality.AUDIO].features)
    assert np.array_equal((sounds @ sounds.T).argmax(axis=1), np.arange(50))
    texts = alignment.project(Modality.TEXT, data.tables[Modality.TEXT].features)
    assert not (sounds @ texts.T).any()
    assert found(alignment, Modality.TEXT, Modality.IMAGE) > 0.5


def test_two_islands_stay_apart() -> None:
    data = training(
        {
            Modality.IMAGE: range(200),
            Modality.TEXT: range(200),
            Modality.AUDIO: range(200, 400),
            Modality.VIDEO: range(200, 400),
        }
    )
    alignment = fit("auto", data)
    assert found(alignment, Modality.IMAGE, Modality.TEXT) > 0.5
    assert found(alignment, Modality.AUDIO, Modality.VIDEO) > 0.5
    assert set(alignment.report["links"]) == {"image-text", "audio-video"}


def test_a_handful_of_a_third_modality_changes_nothing() -> None:
    both = {Modality.IMAGE: range(200), Modality.TEXT: range(200)}
    alone, more = fit("auto", training(both)), fit("auto", training({**both, Modality.AUDIO: range(5)}))
    rows = {modality: training(both).tables[modality].features for modality in both}
    for one, other in product(both, repeat=2):
        expected, found = (
            own.project(one, rows[one]) @ own.project(other, rows[other]).T for own in (alone, more)
        )
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_prior_reads_videos_as_it_reads_pictures() -> None:
    pictures = training({Modality.IMAGE: range(30)}, prior())
    same = pictures.tables[Modality.IMAGE]
    videos = TrainingData({Modality.VIDEO: same}, prior())
    names = np.random.default_rng(3).normal(size=(7, SIZES[Modality.TEXT])).astype(np.float32)
    scores = [
        alignment.project(Modality.TEXT, names) @ alignment.project(modality, same.features).T
        for alignment, modality in (
            (fit("auto", pictures), Modality.IMAGE),
            (fit("auto", videos), Modality.VIDEO),
        )
    ]
    np.testing.assert_array_equal(*scores)


def test_a_video_encoder_of_another_kind_has_no_part_in_the_prior() -> None:
    items: Integers = np.arange(30)
    strange = FeatureTable(np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32), items)
    alignment = fit("auto", TrainingData({Modality.VIDEO: strange}, prior()))
    assert alignment.report["unconnected"] == ["video"]


def test_what_pairs_of_few_different_things_share_by_chance_does_not_count() -> None:
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
    seen = report["correlations"]
    assert seen[3] > 0.5  # five kinds differ in four directions
    assert max(seen[4:], default=0.0) < 0.2


@settings(max_examples=15)
@given(
    present=st.lists(st.frozensets(st.sampled_from(list(Modality)), min_size=1), min_size=1, max_size=12),
    repeats=st.sampled_from([1, 12]),
    known=st.booleans(),
)
def test_any_pattern_of_missing_parts_is_taken(
    present: list[frozenset[Modality]], repeats: int, known: bool
) -> None:
    items = [parts for parts in present for _ in range(repeats)]
    has = {
        modality: [number for number, parts in enumerate(items) if modality in parts]
        for modality in Modality
        if any(modality in parts for parts in items)
    }
    alignment = fit("auto", training(has, prior() if known else None))
    for modality in has:
        hidden = np.random.default_rng(1).normal(size=(5, HIDDEN))
        rows = alignment.project(modality, features(modality, hidden, 1))
        assert rows.shape == (5, alignment.dimension)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)


def test_nothing_to_search_is_refused() -> None:
    with pytest.raises(AlignmentError, match="index some items"):
        fit("auto", TrainingData({}))
    with pytest.raises(AlignmentError, match="fewer than 2"):
        fit("cca", training({Modality.AUDIO: range(3), Modality.VIDEO: range(3, 6)}))
