"""Calibration of scores across queries and modalities."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, ndtr

import indexer
import retrieval
from retrieval import Query
from retrieval.errors import OptionError
from retrieval.search import calibration, merging
from retrieval.search.calibration import (
    BACKGROUND,
    LOG_ODDS,
    Backgrounds,
    ScoreDistribution,
    background_quantiles,
    mean_distribution,
    percentile,
)
from retrieval.search.modality_index import ResultArrays
from retrieval.storage.manifest import Manifest
from retrieval.types import Modality, Term
from tests.helpers import toy

ZERO_VECTOR = np.zeros((1, 2), np.float32)


def normal_scores(count=200_000, mean=0.2, deviation=0.1, seed=0):
    return np.random.default_rng(seed).normal(mean, deviation, count)


def distribution_of(scores, mean=0.0):
    return ScoreDistribution(background_quantiles(scores).tolist(), mean)


def test_percentiles_of_a_normal_background_are_those_of_the_normal_distribution():
    quantiles = background_quantiles(normal_scores())
    scores = np.linspace(-0.1, 0.5, 25)
    percentiles = [percentile(ScoreDistribution(quantiles.tolist(), 0.0).log_odds(score)) for score in scores]
    np.testing.assert_allclose(percentiles, 100 * ndtr((scores - 0.2) / 0.1), atol=1.2)
    assert percentiles[-1] > 99.8


@pytest.mark.parametrize("count", [20, 100, 5_000])
def test_tail_of_few_pairs_is_extrapolated_linearly(count):
    quantiles = background_quantiles(normal_scores(count))
    assert quantiles.shape == (13,)
    assert (np.diff(quantiles) > 0).all()
    assert quantiles[-1] < 0.2 + 0.1 * 25


def test_too_few_pairs_have_no_background():
    assert background_quantiles(np.zeros(19)) is None
    assert Backgrounds({}).distributions([[(Modality.TEXT, 1.0)]], ZERO_VECTOR) == [None]


def test_rounding_is_not_rare_when_all_scores_are_equal():
    quantiles = background_quantiles(np.full(1000, 0.5))
    assert (np.diff(quantiles) > 0).all()
    assert percentile(ScoreDistribution(quantiles.tolist(), 0.0).log_odds(0.5 + 1e-7)) < 75


def test_extreme_scores_have_percentiles():
    distribution = distribution_of(normal_scores(), 0.1)
    assert percentile(distribution.log_odds(-1e6)) == pytest.approx(0)
    assert percentile(distribution.log_odds(1e6)) == 100


@given(st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=30), st.integers(0, 5), st.floats(-1, 1))
def test_calibration_keeps_the_order(scores, seed, mean):
    distribution = distribution_of(normal_scores(500, seed=seed), mean)
    values = sorted(scores)
    odds = np.array([distribution.log_odds(score) for score in values])
    assert (np.diff(odds) >= 0).all()
    assert (np.diff(odds)[np.diff(values) > 1e-9] > 0).all()
    np.testing.assert_allclose([distribution.score_at(value) for value in odds], values, atol=1e-9)


def test_scores_at_quantiles_have_the_log_odds_of_the_quantiles():
    distribution = distribution_of(normal_scores(), -0.3)
    log_odds = [distribution.log_odds(score - 0.3) for score in distribution.scores]
    np.testing.assert_allclose(log_odds, LOG_ODDS)
    np.testing.assert_allclose([distribution.score_at(odds) + 0.3 for odds in LOG_ODDS], distribution.scores)


def test_mean_distribution_has_the_mean_score_at_any_log_odds():
    first, second = distribution_of(normal_scores(), 0.1), distribution_of(normal_scores(seed=1), -0.4)
    both = mean_distribution([first, second])
    for odds in (-20, -9, 0.2, 3, 30):
        assert both.score_at(odds) == pytest.approx((first.score_at(odds) + second.score_at(odds)) / 2)
    assert mean_distribution([first, None]) is None


def test_single_term_has_the_background_of_its_modality_reversed_for_negative_weight():
    quantiles = background_quantiles(normal_scores())
    backgrounds = Backgrounds({"text": quantiles.tolist(), "image": (quantiles + 1).tolist()})
    text, image, negative, pooled = backgrounds.distributions(
        [[(Modality.TEXT, 1.0)], [(Modality.IMAGE, 1.0)], [(Modality.TEXT, -1.0)], [(None, 1.0)]],
        np.repeat(ZERO_VECTOR, 4, axis=0),
    )
    assert text == (quantiles.tolist(), 0)
    assert image == ((quantiles + 1).tolist(), 0)
    np.testing.assert_allclose(negative.scores, -quantiles[::-1])
    np.testing.assert_allclose(pooled.scores, quantiles + 0.5)


def test_composed_query_has_the_background_of_the_sum_of_its_terms_scores():
    first, second = normal_scores(), normal_scores(mean=-0.1, deviation=0.05, seed=1)
    backgrounds = Backgrounds(
        {"text": background_quantiles(first).tolist(), "image": background_quantiles(second).tolist()}
    )
    [composed] = backgrounds.distributions([[(Modality.TEXT, 0.8), (Modality.IMAGE, -0.6)]], ZERO_VECTOR)
    np.testing.assert_allclose(
        composed.scores[1:-1], background_quantiles(0.8 * first - 0.6 * second)[1:-1], atol=0.012
    )


def test_component_shared_by_all_vectors_does_not_affect_log_odds():
    random = np.random.default_rng(0)
    rows = random.normal(size=(50, 8)).astype(np.float32)
    rows[:, 0] = 0.7  # shared by all
    query = random.normal(size=(1, 8)).astype(np.float32)
    near = query + np.eye(1, 8, dtype=np.float32)  # equally close to all rows
    backgrounds = Backgrounds({"text": background_quantiles(normal_scores()).tolist()}, rows.mean(axis=0))

    def odds(vectors):
        [distribution] = backgrounds.distributions([[(Modality.TEXT, 1.0)]], vectors)
        return np.array([distribution.log_odds(score) for score in (vectors @ rows.T)[0].tolist()])

    np.testing.assert_allclose(odds(query), odds(near), atol=1e-4)
    assert abs(odds(query) - odds(-query)).max() > 1


def test_unrelated_pairs_exclude_the_own_item_and_use_the_best_segment():
    queries, rows = np.eye(2, dtype=np.float32), np.array([[1, 0], [0.5, 0], [0, 1]], np.float32)
    media, row_items = np.array([7, 7, 8]), np.array([1, 1, 2])
    assert sorted(calibration.unrelated_pair_scores(queries, np.array([1, 3]), rows, media, row_items)) == [
        0,
        0,
        1,
    ]
    empty = np.empty(0, np.int64)
    assert not len(calibration.unrelated_pair_scores(queries, np.array([1, 3]), rows[:0], empty, empty))


def random_results(seed, mean, deviation, count):
    scores = np.sort(normal_scores(count, mean, deviation, seed))[None, ::-1]
    return ResultArrays(scores.astype(np.float32), np.arange(count)[None] + 1000 * seed)


def test_calibration_favours_no_modality():
    sizes = {1: (0.1, 0.02, 900), 2: (0.5, 0.2, 100)}
    results = [random_results(seed, *parameters) for seed, parameters in sizes.items()]
    backgrounds = [
        [distribution_of(normal_scores(mean=mean, deviation=deviation, seed=9))]
        for mean, deviation, _ in sizes.values()
    ]
    [calibrated] = merging.merge_modalities(results, backgrounds)
    [raw] = merging.merge_modalities(results, [[None]] * 2)

    def share_of_larger(answer, count=100):
        first = sorted(answer, key=lambda scored: -scored.score)[:count]
        return sum(scored.asset < 2000 for scored in first) / count

    assert share_of_larger(raw) < 0.1  # only the smaller modality, because its scores are higher
    assert share_of_larger(calibrated) == pytest.approx(0.9, abs=0.06)
    assert all(scored.percentile is None for scored in raw)
    for assets in (range(1000, 1900), range(2000, 2100)):
        answer = [scored for scored in calibrated if scored.asset in assets]
        assert answer == sorted(answer, key=lambda scored: -scored.score)


def test_a_single_modality_keeps_its_scores():
    results = random_results(1, 0.1, 0.02, 50)
    [answer] = merging.merge_modalities([results], [[distribution_of(normal_scores())]])
    assert [scored.score for scored in answer] == results.scores[0].tolist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("calibrated")
    with toy.encoders():
        indexer.build([toy.folder(root / "source")], out=root / "index", preset="toy")
        yield root / "index"


@pytest.fixture(scope="module")
def engine(folder):
    return retrieval.open(folder)


def test_percentiles_follow_the_background_stored_in_the_index(engine):
    hits = engine.text_to_image("red", k=10)
    quantiles = np.array(engine.manifest.indexes[Modality.IMAGE][BACKGROUND]["text"])
    quantiles += engine.encode(text="red")[0] @ engine.index.modality_index(
        Modality.IMAGE
    ).index.vectors().mean(axis=0)
    for hit in hits:
        share = 100 * expit(np.interp(hit.score, quantiles, LOG_ODDS))
        if quantiles[0] < hit.score < quantiles[-1]:
            assert hit.percentile == pytest.approx(share)
    assert [hit.percentile for hit in hits] == sorted((hit.percentile for hit in hits), reverse=True)


def test_min_percentile_limits_the_hits(engine):
    everything = engine.text_to_image("red", k=10)
    least = everything[2].percentile
    assert engine.text_to_image("red", k=10, min_percentile=least) == everything[:3]
    assert engine.text_to_image("red", min_percentile=0) == everything
    assert engine.search(text=[("red", -1)], to="image", min_percentile=99.9999) == []
    for wrong in (-1, 101, float("nan"), "many", True):
        with pytest.raises(OptionError, match="from 0 to 100"):
            engine.text_to_image("red", min_percentile=wrong)


def test_id_composed_and_vector_queries_have_percentiles(engine):
    queries = [
        Query(id="red"),
        Query(text=["red", ("blue", -0.5)]),
        Query(vector=[Term("vector", engine.encode(text="red")[0], of=Modality.TEXT)]),
    ]
    found = engine.search_batch(queries, to="any", k=20)
    assert all(0 <= hit.percentile <= 100 for hits in found for hit in hits)
    expected = engine.search(text="red", to="any", k=20)
    assert [hit.id for hit in found[2]] == [hit.id for hit in expected]
    assert [hit.percentile for hit in found[2]] == pytest.approx([hit.percentile for hit in expected])


def test_index_without_backgrounds_has_no_percentiles(folder, tmp_path, monkeypatch):
    engine = retrieval.open(folder)
    for entry in engine.manifest.indexes.values():
        monkeypatch.delitem(entry, BACKGROUND)
    assert {hit.percentile for hit in engine.search(text="red", to="any", k=20)} == {None}
    with pytest.raises(OptionError, match="xmodal index"):
        engine.text_to_image("red", min_percentile=50)


def test_indexing_again_adds_missing_backgrounds(tmp_path):
    with toy.encoders():
        source, out = toy.folder(tmp_path / "source"), tmp_path / "index"
        indexer.build([source], out=out, preset="toy")
        manifest = Manifest.read(out)
        for entry in manifest.indexes.values():
            del entry[BACKGROUND]
        manifest.write(out / "manifest.json")
        assert indexer.build([source], out=out).generation == 2
        assert indexer.build([source], out=out).generation == 2
    for entry in json.loads((out / "manifest.json").read_text())["indexes"].values():
        assert {len(scores) for scores in entry[BACKGROUND].values()} == {13}
