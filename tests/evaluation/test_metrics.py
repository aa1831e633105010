"""Ranks and measures, compared with a plain ranking and with ir-measures."""

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from retrieval.errors import OptionError
from retrieval.evaluation.metrics import Measure, RelevantRanks, standard_measures, summarise
from retrieval.evaluation.ranking import COUNT_UP_TO, ranks_from_results, relevant_ranks
from retrieval.evaluation.relevance import Qrels, RelevancePairs, SameLabel


def plain_rankings(queries, gallery, self_rows=None):
    """Return gallery rows by score, best first, ties in their order; a query's own row is left out."""
    rankings = []
    for number, query in enumerate(queries):
        self_row = -1 if self_rows is None else self_rows[number]
        rows = [row for row in range(len(gallery)) if row != self_row]
        rankings.append(sorted(rows, key=lambda row: (-float(query @ gallery[row]), row)))
    return rankings


def plain_ranks(rankings, query_labels, gallery_labels):
    return [
        [rank for rank, row in enumerate(ranking, 1) if label >= 0 and gallery_labels[row] == label]
        for ranking, label in zip(rankings, query_labels, strict=True)
    ]


def as_lists(ranks: RelevantRanks):
    return (
        [part.tolist() for part in np.split(ranks.ranks, ranks.offsets[1:-1])] if len(ranks.relevant) else []
    )


def make_ranks(*ranks, relevant=None):
    """Return ranks from one list per query."""
    counts = [len(each) for each in ranks]
    return RelevantRanks(
        np.array([rank for each in ranks for rank in each], dtype=np.int64),
        np.cumsum([0, *counts]),
        np.array(counts if relevant is None else relevant),
    )


@st.composite
def problems(draw):
    """Draw vectors of small integers, so that products are exact and most scores tie."""
    q, n, d = draw(st.integers(0, 7)), draw(st.integers(1, 40)), draw(st.integers(1, 3))
    small = st.integers(-2, 2).map(float)
    queries = draw(arrays(np.float32, (q, d), elements=small))
    gallery = draw(arrays(np.float32, (n, d), elements=small))
    labels = st.integers(-1, draw(st.integers(0, 5)))
    query_labels = draw(arrays(np.int64, q, elements=labels))
    gallery_labels = draw(arrays(np.int64, n, elements=labels))
    self_rows = draw(st.none() | arrays(np.int64, q, elements=st.integers(-1, n - 1)))
    return queries, gallery, query_labels, gallery_labels, self_rows


@given(problems(), st.integers(1, 100))
def test_ranks_equal_those_of_a_plain_ranking(problem, scores_per_chunk):
    queries, gallery, query_labels, gallery_labels, self_rows = problem
    ranks = relevant_ranks(
        queries,
        gallery,
        SameLabel(query_labels, gallery_labels, self_rows),
        scores_per_chunk=scores_per_chunk,
    )
    expected = plain_ranks(plain_rankings(queries, gallery, self_rows), query_labels, gallery_labels)
    assert as_lists(ranks) == expected
    assert ranks.relevant.tolist() == [len(each) for each in expected]
    assert ranks.ranks.dtype == ranks.offsets.dtype == ranks.relevant.dtype == np.int64


@given(problems(), st.integers(1, 50))
def test_ranks_from_results_are_the_truncated_ranking(problem, k):
    queries, gallery, query_labels, gallery_labels, self_rows = problem
    everything = plain_rankings(queries, gallery)
    rows = np.full((len(queries), k), -1)
    for number, ranking in enumerate(everything):
        rows[number, : len(ranking)] = ranking[:k]
    found = ranks_from_results(rows, SameLabel(query_labels, gallery_labels, self_rows))
    others = [
        [row for row in ranking[:k] if self_rows is None or row != self_rows[number]]
        for number, ranking in enumerate(everything)
    ]
    assert as_lists(found) == plain_ranks(others, query_labels, gallery_labels)
    exact = relevant_ranks(queries, gallery, SameLabel(query_labels, gallery_labels, self_rows))
    assert found.relevant.tolist() == exact.relevant.tolist()
    if k > len(gallery):
        assert found.ranks.tolist() == exact.ranks.tolist()
        assert found.offsets.tolist() == exact.offsets.tolist()


@pytest.mark.parametrize("classes", [2, 400])
def test_ranks_do_not_depend_on_chunks_or_ranking_method(classes):
    random = np.random.default_rng(0)
    queries, gallery = (random.integers(-3, 4, (n, 5)).astype(np.float32) for n in (90, 300))
    labels = random.integers(0, classes, 300)
    assert (np.bincount(labels).max() > COUNT_UP_TO) == (classes == 2)
    whole = relevant_ranks(queries, gallery, SameLabel(labels[:90], labels))
    for scores_per_chunk in (1, 700, 10_000):
        chunked = relevant_ranks(
            queries, gallery, SameLabel(labels[:90], labels), scores_per_chunk=scores_per_chunk
        )
        assert chunked.ranks.tolist() == whole.ranks.tolist()
    assert as_lists(whole) == plain_ranks(plain_rankings(queries, gallery), labels[:90], labels)


@pytest.mark.parametrize("size", [5, 33, 1001])
def test_equal_vectors_tie_at_any_position(size):
    """Real-valued rows: on many machines a matrix product gives other last bits in the last columns."""
    random = np.random.default_rng(1)
    gallery = np.repeat(random.standard_normal((1, 384)).astype(np.float32), size, axis=0)
    queries = random.standard_normal((2, 384)).astype(np.float32)
    ranks = relevant_ranks(queries, gallery, SameLabel(np.zeros(2, np.int64), np.zeros(size, np.int64)))
    for position in (0, size // 2, size - 1):
        labels = np.where(np.arange(size) == position, 0, 1)
        ranks = relevant_ranks(queries, gallery, SameLabel(np.zeros(2, np.int64), labels))
        assert ranks.ranks.tolist() == [position + 1] * 2


def test_queries_in_the_gallery_find_themselves():
    rows = np.random.default_rng(2).standard_normal((50, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    numbers = np.arange(50)
    figures = summarise(relevant_ranks(rows, rows, SameLabel(numbers, numbers)), standard_measures())
    assert figures.pop("queries") == 50
    assert figures.pop("queries_without_relevant") == 0
    assert set(figures.values()) == {1.0}

    alone = summarise(relevant_ranks(rows, rows, SameLabel(numbers, numbers, numbers)), standard_measures())
    assert alone["queries"] == 0
    assert alone["queries_without_relevant"] == 50


IR_MEASURES = {
    "hit@1": ir_measures.Success @ 1,
    "hit@10": ir_measures.Success @ 10,
    "recall@5": ir_measures.R @ 5,
    "recall@20": ir_measures.R @ 20,
    "mrr": ir_measures.RR,
    "map": ir_measures.AP,
    "map@10": ir_measures.AP @ 10,
    "ndcg": ir_measures.nDCG,
    "ndcg@10": ir_measures.nDCG @ 10,
}


@pytest.mark.parametrize("classes", [3, 40, 150])
def test_agrees_with_ir_measures(classes):
    random = np.random.default_rng(classes)
    queries, gallery = (random.integers(-2, 3, (n, 4)).astype(np.float32) for n in (60, 200))
    query_labels, gallery_labels = random.integers(-1, classes, 60), random.integers(-1, classes, 200)
    rankings = plain_rankings(queries, gallery)
    # trec_eval sorts by score and breaks ties by descending id. Ranks as scores leave no ties.
    run = {
        str(q): {str(row): float(-rank) for rank, row in enumerate(each)} for q, each in enumerate(rankings)
    }
    qrels = {
        str(q): {str(row): 1 for row in np.flatnonzero(gallery_labels == label)}
        for q, label in enumerate(query_labels)
        if label >= 0 and (gallery_labels == label).any()
    }
    expected = ir_measures.calc_aggregate(IR_MEASURES.values(), qrels, run)
    exact = relevant_ranks(queries, gallery, SameLabel(query_labels, gallery_labels))
    listed = ranks_from_results(np.array(rankings), SameLabel(query_labels, gallery_labels))
    for ranks in (exact, listed):
        figures = summarise(ranks, map(Measure.parse, IR_MEASURES))
        assert figures["queries"] == len(qrels)
        for name, measure in IR_MEASURES.items():
            assert figures[name] == pytest.approx(expected[measure], abs=1e-9, rel=0), name


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=25)
def test_graded_judgements_agree_with_ir_measures(seed, many):
    random = np.random.default_rng(seed)
    q, n = 12, 3000 if many else 40
    queries, gallery = (random.integers(-2, 3, (rows, 3)).astype(np.float32) for rows in (q, n))
    size = 700 if many else 60
    query_numbers, columns = random.integers(0, q - 1, size), random.integers(-1, n, size)
    _, once = np.unique(query_numbers * (n + 1) + columns + 1, return_index=True)
    judged = RelevancePairs(
        query_numbers[once], columns[once], random.integers(-1, 4, len(once)).astype(float)
    )
    relevance = Qrels(judged, (q, n))
    qrels = {}
    for query_number, column, gain in zip(judged.query_numbers, judged.columns, judged.gains, strict=True):
        qrels.setdefault(str(query_number), {})[str(column)] = int(gain)
    rankings = plain_rankings(queries, gallery)
    run = {
        str(q): {str(row): float(-rank) for rank, row in enumerate(each)} for q, each in enumerate(rankings)
    }
    exact = relevant_ranks(queries, gallery, relevance)
    listed = ranks_from_results(np.array(rankings), relevance)
    expected = {}  # trec_eval counts a query without a relevant asset as 0; here it is excluded from averages
    for measure in IR_MEASURES.values():
        values = {each.query_id: each.value for each in ir_measures.iter_calc([measure], qrels, run)}
        expected[measure] = np.array([values.get(str(query), np.nan) for query in range(q)])
    for ranks in (exact, listed):
        for name, measure in IR_MEASURES.items():
            answer = Measure.parse(name).values(ranks)
            judged_ones = relevance.totals > 0
            np.testing.assert_allclose(
                answer[judged_ones], expected[measure][judged_ones], atol=1e-9, rtol=0, err_msg=name
            )
            assert np.isnan(answer[~judged_ones]).all()


def test_duplicate_judgements_count_once_and_self_judgements_never():
    judged = RelevancePairs(labels(0, 0, 0, 1), labels(2, 2, 1, 1), np.array([3.0, 1.0, 0.0, 1.0]))
    relevance = Qrels(judged, (2, 3), labels(-1, 1))
    assert (relevance.totals.tolist(), relevance.ideal.tolist()) == ([1, 0], [3.0])
    with pytest.raises(OptionError, match="within"):
        Qrels(RelevancePairs(labels(0), labels(3), np.ones(1)), (2, 3))


def test_truncated_ranks_equal_those_of_a_shorter_list():
    random = np.random.default_rng(5)
    queries, gallery = (random.integers(-2, 3, (n, 3)).astype(np.float32) for n in (20, 60))
    relevance = SameLabel(random.integers(0, 9, 20), random.integers(0, 9, 60))
    rankings = np.array(plain_rankings(queries, gallery))
    whole = relevant_ranks(queries, gallery, relevance)
    for depth in (1, 7, 60):
        assert as_lists(whole.truncate(depth)) == as_lists(ranks_from_results(rankings[:, :depth], relevance))


def test_measures_by_hand():
    figures = summarise(make_ranks([1, 3], [2], [], [4]), standard_measures([1, 3]))
    assert figures == pytest.approx(
        {
            "queries": 3,
            "queries_without_relevant": 1,
            "hit@1": 1 / 3,
            "hit@3": 2 / 3,
            "recall@1": 0.5 / 3,
            "recall@3": 2 / 3,
            "ndcg": ((1 + 1 / 2) / (1 + 1 / np.log2(3)) + 1 / np.log2(3) + 1 / np.log2(5)) / 3,
            "ndcg@1": (1 + 0 + 0) / 3,
            "ndcg@3": ((1 + 1 / 2) / (1 + 1 / np.log2(3)) + 1 / np.log2(3) + 0) / 3,
            "map@1": (1 / 2) / 3,
            "map@3": ((1 + 2 / 3) / 2 + 1 / 2) / 3,
            "mrr": (1 + 1 / 2 + 1 / 4) / 3,
            "map": ((1 + 2 / 3) / 2 + 1 / 2 + 1 / 4) / 3,
            "median_rank": 2.0,
            "mean_rank": 7 / 3,
        }
    )


def test_median_of_an_even_number_of_ranks_is_the_mean_of_the_middle_two():
    assert summarise(make_ranks([1], [2], [5], [9]), [Measure("median_rank")])["median_rank"] == 3.5


def test_unretrieved_assets_have_infinite_rank():
    ranks = make_ranks([2], [], [1], relevant=[2, 3, 1])
    figures = summarise(ranks, standard_measures([5]))
    assert figures["queries"] == 3
    assert figures["hit@5"] == pytest.approx(2 / 3)
    assert figures["recall@5"] == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert figures["mrr"] == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert figures["map"] == pytest.approx((1 / 4 + 0 + 1) / 3)
    assert figures["median_rank"] == 2.0
    assert figures["mean_rank"] is None
    assert Measure("median_rank").average(np.array([1.0, np.inf])) is None


def test_figures_are_none_without_judged_queries():
    figures = summarise(make_ranks([], []), standard_measures())
    assert figures.pop("queries") == 0
    assert figures.pop("queries_without_relevant") == 2
    assert set(figures.values()) == {None}


def test_values_are_in_the_order_of_the_queries():
    values = Measure("mrr").values(make_ranks([4], [], [1]))
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, [0.25, np.nan, 1.0])


@pytest.mark.parametrize("measure", standard_measures([1, 10, 100]), ids=str)
def test_text_of_a_measure_parses_back(measure):
    assert Measure.parse(str(measure)) == measure


@pytest.mark.parametrize(
    "text", ["hit", "hit@", "hit@0", "hit@-1", "hit@x", "mrr@5", "MRR", "hit@1@2", "", "hit@²"]
)
def test_invalid_measures_are_refused(text):
    with pytest.raises(OptionError, match=r"measure|cutoff"):
        Measure.parse(text)


def test_cutoffs_below_one_are_refused():
    with pytest.raises(OptionError, match="at least 1"):
        standard_measures([5, 0])


def labels(*values):
    return np.array(values, dtype=np.int64)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"queries": np.ones((2, 4), np.float32)}, r"\(q, d\)"),
        ({"queries": np.full((2, 3), np.nan, np.float32)}, "finite"),
        ({"query_labels": labels(0)}, "label"),
        ({"gallery_labels": labels(0)}, "label"),
        ({"self_rows": labels(0, 3)}, "self_rows"),
        ({"self_rows": labels(0)}, "self_rows"),
    ],
)
def test_mismatched_arguments_are_refused(changed, message):
    arguments = {
        "queries": np.ones((2, 3), np.float32),
        "gallery": np.ones((3, 3), np.float32),
        "query_labels": labels(0, 1),
        "gallery_labels": labels(0, 1, 2),
    }
    arguments |= changed
    with pytest.raises(OptionError, match=message):
        relevant_ranks(
            arguments["queries"],
            arguments["gallery"],
            SameLabel(arguments["query_labels"], arguments["gallery_labels"], arguments.get("self_rows")),
        )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0, 1], r"\(q, k\)"),
        ([[0, 3]], "below 3"),
        ([[-2, 0]], "below 3"),
        ([[1, 1]], "twice"),
        ([[0], [1]], "label"),
    ],
)
def test_invalid_results_are_refused(rows, message):
    with pytest.raises(OptionError, match=message):
        ranks_from_results(np.array(rows), SameLabel(labels(0), labels(0, 1, 2)))


def test_empty_gallery_has_no_relevant_assets():
    none = np.empty((0, 3), np.float32)
    ranks = relevant_ranks(np.ones((2, 3), np.float32), none, SameLabel(labels(0, 1), labels()))
    assert ranks.relevant.tolist() == [0, 0]
    assert ranks_from_results(
        np.empty((2, 0), np.int64), SameLabel(labels(0, 1), labels())
    ).offsets.tolist() == [
        0,
        0,
        0,
    ]


def test_hits_and_recall_equal_those_of_clip_benchmark():
    """COCO's protocol: five captions per picture, both directions."""
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip(
        "clip_benchmark.metrics.zeroshot_retrieval", reason="pip install clip-benchmark"
    )
    random = np.random.default_rng(0)
    pictures = random.standard_normal((60, 16)).astype(np.float32)
    query_numbers = np.repeat(np.arange(60), 5)
    captions = pictures[query_numbers] + 1.5 * random.standard_normal((300, 16)).astype(np.float32)
    scores = torch.from_numpy(captions) @ torch.from_numpy(pictures).T
    positive = torch.from_numpy(query_numbers)[:, None] == torch.arange(60)
    ways = [
        (relevant_ranks(captions, pictures, SameLabel(query_numbers, np.arange(60))), scores, positive),
        (relevant_ranks(pictures, captions, SameLabel(np.arange(60), query_numbers)), scores.T, positive.T),
    ]
    for ranks, their_scores, their_positive in ways:
        for k in (1, 5, 10):
            recall = theirs.recall_at_k(their_scores, their_positive, k).numpy()
            np.testing.assert_allclose(Measure("recall", k).values(ranks), recall, atol=1e-6)
            np.testing.assert_array_equal(Measure("hit", k).values(ranks), recall > 0)
