"""Every vector index answers as the exact one does."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.errors import DamagedIndexError, OptionError
from retrieval.vectors import registry
from retrieval.vectors.exact import ExactIndex

KINDS = sorted(registry.KINDS)


def vectors(count, dimension=16, seed=0):
    made = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def test_there_are_indexes_to_test():
    assert len(KINDS) >= 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 5, 100, 1000])
def test_answers_equal_the_exact_ones(kind, k):
    gallery, queries = vectors(300), vectors(20, seed=1)
    scores, rows = registry.build(kind, gallery).search(queries, k)
    expected_scores, expected_rows = ExactIndex(gallery).search(queries, k)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=30)
def test_ties_are_broken_by_row(kind, data):
    count = data.draw(st.integers(1, 60))
    values = data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    gallery = np.eye(3, dtype=np.float32)[values]
    k = data.draw(st.integers(1, 70))
    scores, rows = registry.build(kind, gallery).search(np.array([[3, 2, 1]], np.float32), k)
    expected = sorted(range(count), key=lambda row: (values[row], row))[:k]
    assert rows[0].tolist() == expected
    assert scores[0].tolist() == [3 - values[row] for row in expected]


@pytest.mark.parametrize("count", [1, 7, 64, 300])
@pytest.mark.parametrize("dimension", [37, 256, 1024])
def test_equal_vectors_tie_wherever_they_stand(count, dimension):
    gallery = np.tile(vectors(13, dimension), (31, 1))
    scores, rows = registry.build("flat", gallery).search(vectors(count, dimension, seed=1), 31)
    assert (np.diff(rows, axis=1) == 13).all()
    assert (scores == scores[:, :1]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_rows_asked_for_are_searched(kind):
    gallery, queries = vectors(300), vectors(5, seed=1)
    chosen = np.arange(0, 300, 7)
    _, rows = registry.build(kind, gallery).search(queries, 1000, chosen)
    assert rows.shape == (5, len(chosen))
    assert set(rows.ravel()) == set(chosen)
    assert registry.build(kind, gallery).search(queries, 3, chosen[:0])[1].shape == (5, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_no_queries_have_no_answers(kind):
    assert registry.build(kind, vectors(9)).search(vectors(0), 4)[0].shape == (0, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_index_answers_the_same(kind, tmp_path):
    index, queries = registry.build(kind, vectors(50)), vectors(4, seed=1)
    index.save(tmp_path / "i")
    again = registry.load(kind, tmp_path / "i")
    assert (len(again), again.dimension) == (50, 16)
    np.testing.assert_array_equal(again.search(queries, 9)[1], index.search(queries, 9)[1])
    np.testing.assert_array_equal(again.vectors(), vectors(50))
    np.testing.assert_array_equal(again.vectors(np.array([7, 3])), vectors(50)[[7, 3]])


@pytest.mark.parametrize("kind", KINDS)
def test_threads_may_search_at_once(kind):
    index, queries = registry.build(kind, vectors(500)), vectors(40, seed=1)
    _, expected = index.search(queries, 5)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda at: index.search(queries[at : at + 1], 5)[1][0], range(40)))
    np.testing.assert_array_equal(np.stack(found), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_refused(kind, tmp_path):
    (tmp_path / "i").write_bytes(b"nonsense")
    with pytest.raises(DamagedIndexError, match="cannot be read"):
        registry.load(kind, tmp_path / "i")


def test_unknown_kinds_are_refused(tmp_path):
    with pytest.raises(OptionError, match="expected one of auto, flat, exact"):
        registry.build("quantum", vectors(2))
    with pytest.raises(DamagedIndexError, match="unknown kind 'quantum'"):
        registry.load("quantum", tmp_path / "i")
