"""TREC files, compared with the programs that read them."""

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from retrieval.errors import SourceError
from retrieval.evaluation import trec
from retrieval.evaluation.metrics import Measure, summarise
from retrieval.evaluation.ranking import ranks_from_results
from retrieval.evaluation.relevance import SameLabel

floats = st.floats(-2, 2, width=32) | st.sampled_from([0.0, -0.0, 0.5, -0.5])


@given(arrays(np.float32, (3, 12), elements=floats))
def test_tied_scores_become_strictly_descending(scores):
    scores = -np.sort(-scores, axis=1)
    descending = trec._strictly_descending(scores)
    assert (np.diff(descending, axis=1) < 0).all()
    assert (descending <= scores).all()
    np.testing.assert_allclose(descending, scores, atol=1e-5)
    untied = (np.diff(scores, axis=1) < -1e-4).all(axis=1)
    np.testing.assert_array_equal(descending[untied], scores[untied])


def test_written_files_give_equal_figures_in_ir_measures(tmp_path):
    random = np.random.default_rng(0)
    q, n, k = 30, 50, 20
    scores = np.round(random.random((q, n)), 1).astype(np.float32)  # most of them tie
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(scores, rows, axis=1)
    relevance = SameLabel(random.integers(-1, 9, q), random.integers(-1, 9, n))
    queries, pool = [f"q{at}" for at in range(q)], [f"d{at}" for at in range(n)]
    trec.write_run(tmp_path / "run", queries, pool, found, rows, "tag")
    trec.write_qrels(tmp_path / "qrels", queries, pool, relevance)
    qrels = list(ir_measures.read_trec_qrels(str(tmp_path / "qrels")))
    run = list(ir_measures.read_trec_run(str(tmp_path / "run")))
    assert len(run) == q * k
    names = {"hit@5": "Success@5", "recall@10": "R@10", "mrr": "RR", "map": "AP", "ndcg@10": "nDCG@10"}
    measures = {name: ir_measures.parse_measure(theirs) for name, theirs in names.items()}
    expected = ir_measures.calc_aggregate(measures.values(), qrels, run)
    figures = summarise(ranks_from_results(rows, relevance), map(Measure.parse, names))
    for name, measure in measures.items():
        assert figures[name] == pytest.approx(expected[measure], abs=1e-9, rel=0), name
    read = trec.read_run(tmp_path / "run")
    assert [list(read[query]) for query in queries] == [[pool[row] for row in listed] for listed in rows]
    judged = trec.read_qrels(tmp_path / "qrels")
    assert sum(map(len, judged.values())) == relevance.totals.sum()
    assert set().union(*(of.values() for of in judged.values())) == {1}


def test_missing_results_are_not_written(tmp_path):
    scores, rows = np.array([[0.5, -np.inf]], np.float32), np.array([[1, -1]])
    trec.write_run(tmp_path / "run", ["q"], ["a", "b"], scores, rows, "t")
    assert (tmp_path / "run").read_text() == "q Q0 b 1 0.5 t\n"


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (trec.read_qrels, "q 0 a b 1\n", "line 1 .* has 5 columns: expected 'query 0 asset gain'"),
        (trec.read_qrels, "\nq 0 a x\n", "line 2 .*whole number as gain, not 'x'"),
        (trec.read_run, "q Q0 a 1 high t", "expected a number as score, not 'high'"),
        (trec.read_run, "q Q0 a 1", "has 4 columns"),
    ],
)
def test_malformed_files_are_refused_by_line(tmp_path, read, text, message):
    (tmp_path / "file").write_text(text)
    with pytest.raises(SourceError, match=message):
        read(tmp_path / "file")


def test_unreadable_files_are_refused(tmp_path):
    with pytest.raises(SourceError, match="cannot be read"):
        trec.read_run(tmp_path / "none")
    (tmp_path / "latin").write_bytes(b"\xe4 0 a 1")
    with pytest.raises(SourceError, match="cannot be read"):
        trec.read_qrels(tmp_path / "latin")
