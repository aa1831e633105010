"""Intervals and paired tests, compared with explicit resampling, the normal approximation and SciPy."""

import numpy as np
import pytest
from scipy import stats

from retrieval.errors import OptionError
from retrieval.evaluation import bootstrap
from retrieval.evaluation.bootstrap import Resampling, intervals, paired_test
from retrieval.evaluation.metrics import Measure

HIT, MRR, MEDIAN, MEAN = (Measure.parse(text) for text in ("hit@1", "mrr", "median_rank", "mean_rank"))


def test_interval_ends_are_quantiles_over_resampled_queries():
    """Counts represent lists of queries; the figures are the means and medians of these lists."""
    random = np.random.default_rng(1)
    for size in (1, 2, 7, 50):
        values = random.integers(1, 9, (2, size)).astype(float)
        resampling = Resampling(resamples=40, seed=3)
        counts = np.concatenate(list(bootstrap._resamples(size, resampling)))
        assert (counts.sum(axis=1) == size).all()
        drawn = [np.repeat(np.arange(size), row.astype(int)) for row in counts]
        answer = intervals({MEAN: values[0], MEDIAN: values[1]}, resampling)
        for measure, row, average in ((MEAN, values[0], np.mean), (MEDIAN, values[1], np.median)):
            figures = [average(row[each]) for each in drawn]
            expected = np.quantile(figures, resampling.quantiles, method="inverted_cdf")
            assert answer[measure] == pytest.approx(tuple(expected))


def test_intervals_do_not_depend_on_the_chunk_size(monkeypatch):
    values = {MRR: np.random.default_rng(0).random(100), MEDIAN: np.arange(100.0)}
    whole = intervals(values, Resampling())
    assert whole == intervals(values, Resampling())
    assert whole != intervals(values, Resampling(seed=1))
    monkeypatch.setattr(bootstrap, "DRAWS_PER_CHUNK", 700)
    for measure, ends in intervals(values, Resampling()).items():
        assert ends == pytest.approx(whole[measure], abs=1e-12)


def test_interval_of_a_large_sample_matches_the_normal_approximation():
    hits = (np.random.default_rng(0).random(4000) < 0.3).astype(float)
    low, high = intervals({HIT: hits}, Resampling())[HIT]
    half = 1.96 * hits.std() / np.sqrt(len(hits))
    assert (low, high) == pytest.approx((hits.mean() - half, hits.mean() + half), abs=0.2 * half)


def test_queries_without_relevant_assets_are_not_resampled():
    hits = np.array([1.0, np.nan, 1.0, np.nan])
    assert intervals({HIT: hits}, Resampling())[HIT] == (1.0, 1.0)
    assert intervals({HIT: hits[[1, 3]]}, Resampling())[HIT] is None
    assert intervals({HIT: hits}, Resampling(resamples=0))[HIT] is None
    assert intervals({}, Resampling()) == {}


def test_infinite_mean_has_no_interval_but_finite_median_has():
    ranks = np.array([1.0] * 30 + [np.inf])
    answer = intervals({MEAN: ranks, MEDIAN: ranks}, Resampling())
    assert answer == {MEAN: None, MEDIAN: (1.0, 1.0)}


def test_paired_test_agrees_with_scipy():
    random = np.random.default_rng(2)
    first, second = random.random((2, 60))
    first += 0.07
    ours = paired_test(first, second, Resampling(resamples=4000))
    theirs = stats.permutation_test(
        (first - second,), np.mean, permutation_type="samples", n_resamples=4000, rng=0
    )
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=0.03)
    assert ours.difference == pytest.approx((first - second).mean())
    assert ours.interval[0] < ours.difference < ours.interval[1]
    assert paired_test(second, first, Resampling(resamples=4000)).p_value == ours.p_value


def test_paired_test_of_a_system_with_itself_finds_no_difference():
    hits = (np.arange(50) % 3 == 0).astype(float)
    answer = paired_test(hits, hits, Resampling())
    assert (answer.difference, answer.interval, answer.p_value, answer.queries) == (0.0, (0.0, 0.0), 1.0, 50)


def test_paired_test_uses_only_queries_with_both_values():
    first, second = np.array([1.0, np.nan, 0.0]), np.array([0.0, 1.0, np.nan])
    assert paired_test(first, second, Resampling()).queries == 1
    assert paired_test(first[1:], second[1:], Resampling()) is None
    assert paired_test(np.array([np.inf]), np.ones(1), Resampling()) is None


def test_negative_number_of_resamples_is_refused():
    with pytest.raises(OptionError, match="at least 0"):
        Resampling(resamples=-1)
