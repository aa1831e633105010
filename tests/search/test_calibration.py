"""Scores that mean the same whatever was asked for."""

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
    mean_distribution,
    percentile,
    background_quantiles,
)
from retrieval.search.modality_index import ResultArrays
from retrieval.storage.manifest import Manifest
from retrieval.types import Modality, Term
from tests.helpers import toy

NOTHING = np.zeros((1, 2), np.float32)


def drawn(count=200_000, mean=0.2, deviation=0.1, seed=0):
    return np.random.default_rng(seed).normal(mean, deviation, count)


def curve_of(scores, mean=0.0):
    return ScoreDistribution(background_quantiles(scores).tolist(), mean)


def test_percentiles_of_a_normal_background_are_those_of_the_normal_distribution():
    kept = background_quantiles(drawn())
    scores = np.linspace(-0.1, 0.5, 25)
    found = [percentile(ScoreDistribution(kept.tolist(), 0.0).log_odds(score)) for score in scores]
    np.testing.assert_allclose(found, 100 * ndtr((scores - 0.2) / 0.1), atol=1.2)
    assert found[-1] > 99.8


@pytest.mark.parametrize("count", [20, 100, 5_000])
def test_of_few_pairs_the_tail_goes_on_in_a_straight_line(count):
    kept = background_quantiles(drawn(count))
    assert kept.shape == (13,)
    assert (np.diff(kept) > 0).all()
    assert kept[-1] < 0.2 + 0.1 * 25


def test_too_few_pairs_say_nothing():
    assert background_quantiles(np.zeros(19)) is None
    assert Backgrounds({}).distributions([[(Modality.TEXT, 1.0)]], NOTHING) == [None]


def test_where_all_scores_are_the_same_rounding_is_not_rare():
    kept = background_quantiles(np.full(1000, 0.5))
    assert (np.diff(kept) > 0).all()
    assert percentile(ScoreDistribution(kept.tolist(), 0.0).log_odds(0.5 + 1e-7)) < 75


def test_no_score_is_too_far_out():
    curve = curve_of(drawn(), 0.1)
    assert percentile(curve.log_odds(-1e6)) == pytest.approx(0)
    assert percentile(curve.log_odds(1e6)) == 100


@given(st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=30), st.integers(0, 5), st.floats(-1, 1))
def test_calibrating_never_changes_an_order(scores, seed, mean):
    curve = curve_of(drawn(500, seed=seed), mean)
    values = sorted(scores)
    odds = np.array([curve.log_odds(score) for score in values])
    assert (np.diff(odds) >= 0).all()
    assert (np.diff(odds)[np.diff(values) > 1e-9] > 0).all()
    np.testing.assert_allclose([curve.score_at(own) for own in odds], values, atol=1e-9)


def test_where_a_score_is_that_of_a_quantile_its_odds_are_the_quantiles():
    curve = curve_of(drawn(), -0.3)
    found = [curve.log_odds(score - 0.3) for score in curve.scores]
    np.testing.assert_allclose(found, LOG_ODDS)
    np.testing.assert_allclose([curve.score_at(odds) + 0.3 for odds in LOG_ODDS], curve.scores)


def test_the_mean_of_curves_has_at_any_odds_the_mean_of_their_scores():
    first, second = curve_of(drawn(), 0.1), curve_of(drawn(seed=1), -0.4)
    both = mean_distribution([first, second])
    for odds in (-20, -9, 0.2, 3, 30):
        assert both.score_at(odds) == pytest.approx((first.score_at(odds) + second.score_at(odds)) / 2)
    assert mean_distribution([first, None]) is None


def test_a_lone_terms_background_is_its_modalitys_and_an_unwanted_ones_the_other_way_round():
    kept = background_quantiles(drawn())
    backgrounds = Backgrounds({"text": kept.tolist(), "image": (kept + 1).tolist()})
    text, image, away, pooled = backgrounds.distributions(
        [[(Modality.TEXT, 1.0)], [(Modality.IMAGE, 1.0)], [(Modality.TEXT, -1.0)], [(None, 1.0)]],
        np.repeat(NOTHING, 4, axis=0),
    )
    assert text == (kept.tolist(), 0)
    assert image == ((kept + 1).tolist(), 0)
    np.testing.assert_allclose(away.scores, -kept[::-1])
    np.testing.assert_allclose(pooled.scores, kept + 0.5)


def test_a_composed_querys_background_is_that_of_the_sum_of_its_terms_scores():
    first, second = drawn(), drawn(mean=-0.1, deviation=0.05, seed=1)
    backgrounds = Backgrounds({"text": background_quantiles(first).tolist(), "image": background_quantiles(second).tolist()})
    [composed] = backgrounds.distributions([[(Modality.TEXT, 0.8), (Modality.IMAGE, -0.6)]], NOTHING)
    np.testing.assert_allclose(composed.scores[1:-1], background_quantiles(0.8 * first - 0.6 * second)[1:-1], atol=0.012)


def test_what_a_query_has_in_common_with_everything_does_not_count():
    random = np.random.default_rng(0)
    rows = random.normal(size=(50, 8)).astype(np.float32)
    rows[:, 0] = 0.7  # which all share
    query = random.normal(size=(1, 8)).astype(np.float32)
    near = query + np.eye(1, 8, dtype=np.float32)  # to all of them alike
    backgrounds = Backgrounds({"text": background_quantiles(drawn()).tolist()}, rows.mean(axis=0))

    def odds(own):
        [curve] = backgrounds.distributions([[(Modality.TEXT, 1.0)]], own)
        return np.array([curve.log_odds(score) for score in (own @ rows.T)[0].tolist()])

    np.testing.assert_allclose(odds(query), odds(near), atol=1e-4)
    assert abs(odds(query) - odds(-query)).max() > 1


def test_pairs_of_one_item_are_left_out_and_a_medium_counts_by_its_best_segment():
    queries, rows = np.eye(2, dtype=np.float32), np.array([[1, 0], [0.5, 0], [0, 1]], np.float32)
    media, owners = np.array([7, 7, 8]), np.array([1, 1, 2])
    assert sorted(calibration.unrelated_pair_scores(queries, np.array([1, 3]), rows, media, owners)) == [0, 0, 1]
    nothing = np.empty(0, np.int64)
    assert not len(calibration.unrelated_pair_scores(queries, np.array([1, 3]), rows[:0], nothing, nothing))


def found_in(seed, mean, deviation, count):
    scores = np.sort(drawn(count, mean, deviation, seed))[None, ::-1]
    return ResultArrays(scores.astype(np.float32), np.arange(count)[None] + 1000 * seed)


def test_no_modality_is_favoured_for_being_what_it_is():
    sizes = {1: (0.1, 0.02, 900), 2: (0.5, 0.2, 100)}
    found = [found_in(seed, *of) for seed, of in sizes.items()]
    backgrounds = [[curve_of(drawn(mean=mean, deviation=by, seed=9))] for mean, by, _ in sizes.values()]
    [calibrated] = merging.merge_modalities(found, backgrounds)
    [raw] = merging.merge_modalities(found, [[None]] * 2)

    def first(own, count=100):
        chosen = sorted(own, key=lambda answer: -answer.score)[:count]
        return sum(answer.asset < 2000 for answer in chosen) / count

    assert first(raw) < 0.1  # the smaller one alone, for its scores are higher
    assert first(calibrated) == pytest.approx(0.9, abs=0.06)
    assert all(answer.percentile is None for answer in raw)
    for assets in (range(1000, 1900), range(2000, 2100)):
        own = [answer for answer in calibrated if answer.asset in assets]
        assert own == sorted(own, key=lambda answer: -answer.score)


def test_one_modality_alone_keeps_its_scores():
    found = found_in(1, 0.1, 0.02, 50)
    [own] = merging.merge_modalities([found], [[curve_of(drawn())]])
    assert [answer.score for answer in own] == found.scores[0].tolist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("calibrated")
    with toy.encoders():
        indexer.build([toy.folder(root / "source")], out=root / "index", preset="toy")
        yield root / "index"


@pytest.fixture(scope="module")
def engine(folder):
    return retrieval.open(folder)


def test_percentiles_are_the_odds_of_the_background_that_the_index_keeps(engine):
    hits = engine.text_to_image("red", k=10)
    kept = np.array(engine.manifest.indexes[Modality.IMAGE][BACKGROUND]["text"])
    kept += engine.encode(text="red")[0] @ engine.index.modality_index(Modality.IMAGE).index.vectors().mean(
        axis=0
    )
    for hit in hits:
        share = 100 * expit(np.interp(hit.score, kept, LOG_ODDS))
        if kept[0] < hit.score < kept[-1]:
            assert hit.percentile == pytest.approx(share)
    assert [hit.percentile for hit in hits] == sorted((hit.percentile for hit in hits), reverse=True)


def test_nothing_here_matches_can_be_said(engine):
    everything = engine.text_to_image("red", k=10)
    least = everything[2].percentile
    assert engine.text_to_image("red", k=10, min_percentile=least) == everything[:3]
    assert engine.text_to_image("red", min_percentile=0) == everything
    assert engine.search(text=[("red", -1)], to="image", min_percentile=99.9999) == []
    for wrong in (-1, 101, float("nan"), "many", True):
        with pytest.raises(OptionError, match="from 0 to 100"):
            engine.text_to_image("red", min_percentile=wrong)


def test_items_and_composed_queries_have_percentiles_too(engine):
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


def test_an_index_of_before_is_read_and_says_that_it_does_not_know(folder, tmp_path, monkeypatch):
    engine = retrieval.open(folder)
    for entry in engine.manifest.indexes.values():
        monkeypatch.delitem(entry, BACKGROUND)
    assert {hit.percentile for hit in engine.search(text="red", to="any", k=20)} == {None}
    with pytest.raises(OptionError, match="xmodal index"):
        engine.text_to_image("red", min_percentile=50)


def test_indexing_again_measures_what_a_former_version_did_not(tmp_path):
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
