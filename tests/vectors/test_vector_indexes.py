"""Every vector index gives the results of the exact one."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.arrays import lazy
from retrieval.errors import DamagedIndexError, OptionError
from retrieval.vectors import faiss_files, faiss_module, load_index, registry, scan, search_effort
from retrieval.vectors.base import Subset
from retrieval.vectors.exact import ExactIndex
from retrieval.vectors.half_precision import decode
from retrieval.vectors.incremental import COMPACTION_SHARE
from retrieval.vectors.index_selection import manifest_entry
from retrieval.vectors.refined import NEARLY_ALL, SCAN_SHARE, RefinedIndex
from retrieval.vectors.search_effort import CACHED_PARAMETERS, Effort, Parameters

EXACT = sorted(registry.EXACT)
APPROXIMATE = [
    "fastscan",
    "ivf-fastscan",
    "hnsw",
    "IVF16_HNSW8,PQ8x4fs",
    "HNSW16",
    "IVF8,Flat",
    "PQ8x4fs",
    "OPQ8,IVF4,PQ8x4",
    "SQ8",
]
SPECS = EXACT + APPROXIMATE
COUNT = 2500
LARGE_EFFORT = Effort(depth=500, probes=64, beam=512)


def vectors(count, dimension=16, seed=0):
    made = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@cache
def index_of(spec):
    """An index with a large effort, of vectors that half precision stores exactly."""
    index = registry.build(spec, halves(vectors(COUNT)))
    if isinstance(index, RefinedIndex):
        index.effort = LARGE_EFFORT
    return index


def halves(made):
    return made.astype(np.float16).astype(np.float32)


def recall(found, expected):
    return np.mean([np.isin(a, b).mean() for a, b in zip(found, expected, strict=True)])


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("count", [0, COUNT])
def test_an_index_written_in_blocks_equals_one_built_in_memory(spec, count, tmp_path, monkeypatch):
    made = vectors(count)
    registry.build(spec, made).save(tmp_path / "whole")
    monkeypatch.setattr(lazy, "MAX_BLOCK_BYTES", 64 * 300)
    most = COUNT if spec == "exact" else 300
    index = registry.build(spec, BlockwiseMatrix(made, most), path=tmp_path / "blocks")
    assert len(index) == count
    if spec not in ("HNSW16", "hnsw"):  # these draw random levels for every block
        names = (lambda path: path, faiss_files.stored)
        for beside in names if (tmp_path / "whole.vectors.faiss").exists() else names[:1]:
            assert beside(tmp_path / "blocks").read_bytes() == beside(tmp_path / "whole").read_bytes()


def test_a_graph_uses_the_stored_vectors_and_keeps_no_copy(tmp_path):
    faiss, made, path = faiss_module.load(), vectors(COUNT, 64), tmp_path / "graph.faiss"
    index = registry.build("hnsw", made, path=path)
    links = path.stat().st_size
    assert index.base.hnsw.efConstruction == registry.EF_CONSTRUCTION
    assert index.bytes == links + 2 * made.size == pytest.approx(registry.graph_bytes(*made.shape), rel=0.01)
    index.effort = LARGE_EFFORT
    queries = vectors(50, 64, seed=1)
    expected = index.search(queries, 10)
    np.testing.assert_array_equal(
        load_index.load(manifest_entry(index), path).search(queries, 10)[1], expected[1]
    )
    # A graph as written by FAISS itself, with a copy of the vectors.
    plain = faiss.index_factory(64, index.factory, faiss.METRIC_INNER_PRODUCT)
    plain.train(made)
    plain.add(made)
    faiss.write_index(plain, str(path))
    again = load_index.load(manifest_entry(index), path)
    assert again.bytes == pytest.approx(index.bytes, rel=0.01)
    np.testing.assert_array_equal(again.search(queries, 10)[1], expected[1])


@pytest.mark.parametrize("spec", ["NSG8", "L2norm,NSG8", "PCA16,NSG8"])
def test_a_graph_that_needs_all_vectors_at_once_gets_them(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(lazy, "MAX_BLOCK_BYTES", 64 * 300)
    index = registry.build(spec, vectors(COUNT), path=tmp_path / "graph")
    assert index.base.ntotal == len(index) == COUNT
    assert index.search(vectors(3), 1)[1].ravel().tolist() == [0, 1, 2]


class BlockwiseMatrix:
    """A matrix that allows slices of at most ``most`` rows."""

    def __init__(self, matrix, most):
        self.matrix, self.most, self.shape = matrix, most, matrix.shape

    def __len__(self):
        return len(self.matrix)

    def __getitem__(self, rows):
        found = self.matrix[rows]
        assert isinstance(rows, np.ndarray) or len(found) <= self.most  # an array is a sample to train on
        return found


def test_every_kind_is_tested():
    kinds = {index_of(spec).kind for spec in SPECS}
    assert kinds == set(registry.KINDS) - {
        "cagra"
    }  # which is built on a GPU: tests/vectors/test_faiss_gpu.py


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("k", [1, 10, 100, 5000])
def test_results_equal_the_exact_ones(spec, k):
    queries = vectors(20, seed=1)
    scores, rows = index_of(spec).search(queries, k)
    expected_scores, expected = ExactIndex(halves(vectors(COUNT))).search(queries, k)
    assert (scores.dtype, rows.dtype, rows.shape) == (np.float32, np.int64, expected.shape)
    if spec in EXACT or k > COUNT:
        np.testing.assert_array_equal(rows, expected)
    assert recall(rows, expected) >= 0.95
    right = rows == expected
    np.testing.assert_allclose(scores[right], expected_scores[right], atol=1e-6)
    assert (np.diff(scores, axis=1) <= 0).all()


@pytest.mark.parametrize("spec", EXACT)
@given(data=st.data())
@settings(max_examples=30)
def test_ties_are_broken_by_row(spec, data):
    count = data.draw(st.integers(1, 60))
    values = data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    gallery = np.eye(3, dtype=np.float32)[values]
    k = data.draw(st.integers(1, 70))
    scores, rows = registry.build(spec, gallery).search(np.array([[3, 2, 1]], np.float32), k)
    expected = sorted(range(count), key=lambda row: (values[row], row))[:k]
    assert rows[0].tolist() == expected
    assert scores[0].tolist() == [3 - values[row] for row in expected]


@pytest.mark.parametrize("count", [1, 7, 64, 300])
@pytest.mark.parametrize("dimension", [37, 256, 1024])
def test_equal_vectors_tie_at_any_position(count, dimension):
    gallery = np.tile(vectors(13, dimension), (31, 1))
    scores, rows = registry.build("flat", gallery).search(vectors(count, dimension, seed=1), 31)
    assert (np.diff(rows, axis=1) == 13).all()
    assert (scores == scores[:, :1]).all()


@pytest.mark.parametrize("spec", ["fastscan", "SQ8", "HNSW16"])
def test_equal_vectors_tie_in_approximate_searches(spec):
    index = registry.build(spec, np.tile(vectors(100), (31, 1)))
    scores, rows = index.search(vectors(5, seed=1), 10, effort=LARGE_EFFORT)
    assert (rows < 10 * 100).all()
    assert (scores == scores[:, :1]).all()


def test_a_scan_of_thousands_of_equal_vectors_keeps_the_first():
    gallery = np.repeat(vectors(2), 30_000, axis=0)
    _, rows = scan.best(gallery[[0, -1]], gallery, 7)
    np.testing.assert_array_equal(rows, [np.arange(7), 30_000 + np.arange(7)])


@pytest.mark.parametrize(
    ("count", "queries", "k"), [(9000, 3, 10), (5000, 1100, 3), (3000, 2, 2999), (130, 1, 1)]
)
def test_a_scan_in_blocks_equals_sorting_all_scores(count, queries, k):
    gallery, queries = vectors(count), vectors(queries, seed=1)
    scores, rows = scan.best(queries, gallery, k)
    expected_scores, expected = ExactIndex(gallery).search(queries, k)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)


@pytest.mark.parametrize("step", [1, -1])
def test_a_scan_of_vectors_with_rising_or_falling_scores_equals_sorting(step):
    gallery = vectors(20_000)
    queries = vectors(4, seed=1)
    gallery = gallery[np.argsort(gallery @ queries[0])[::step]]
    np.testing.assert_array_equal(
        scan.best(queries, gallery, 10)[1], ExactIndex(gallery).search(queries, 10)[1]
    )


@pytest.mark.parametrize("length", [1e-12, 0, 1e12])
def test_a_scan_is_exact_for_queries_of_any_length(length):
    gallery, queries = vectors(9000), vectors(500, seed=1)
    expected = ExactIndex(gallery).search(queries, 10)[1]
    queries[::7] *= np.float32(length)
    found = scan.best(queries, gallery, 10)[1]
    if not length:
        expected[::7] = np.arange(10)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("length", [1e-15, 1e-12, 1e12])
def test_a_scan_is_exact_for_vectors_of_any_length(length):
    gallery, queries = vectors(9000), vectors(50, seed=1)
    expected = ExactIndex(gallery).search(queries, 10)[1]
    np.testing.assert_array_equal(scan.best(queries, np.float32(length) * gallery, 10)[1], expected)


@pytest.mark.parametrize("k", [1, 7, 4000])
def test_few_rows_are_ranked_in_the_same_order(k):
    gallery = np.repeat(vectors(1500), 2, axis=0)
    rows = np.flatnonzero(np.random.default_rng(2).random(3000) < 0.9)
    scores, found = scan.best_by_pairs(vectors(3, seed=1), gallery, k, rows)
    expected_scores, expected = ExactIndex(gallery).search(vectors(3, seed=1), k, rows)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)


def test_every_half_precision_number_is_decoded():
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    np.testing.assert_array_equal(decode(halves).view(np.uint32), halves.astype(np.float32).view(np.uint32))


@pytest.mark.parametrize("count", [1, 2])
def test_a_single_query_restores_the_threads_of_faiss(count):
    faiss = faiss_module.load()
    threads = faiss.omp_get_max_threads()
    fake_index = SimpleNamespace(search=lambda *_, **__: faiss.omp_get_max_threads())
    faiss.omp_set_num_threads(3)
    try:
        assert faiss_module.search(fake_index, vectors(count), 5, None) == (1 if count == 1 else 3)
        index_of("fastscan").search(vectors(count), 5)
        assert faiss.omp_get_max_threads() == 3
    finally:
        faiss.omp_set_num_threads(threads)


def test_parameters_are_cached_for_each_subset():
    parameters = Parameters(index_of("IVF8,Flat").base)
    some, others = (Subset(np.arange(at, 900 + at), COUNT) for at in (0, 5))
    made = [
        parameters.of(effort, 5, subset)
        for subset in (None, some, others)
        for effort in (LARGE_EFFORT, Effort())
    ]
    assert len({id(each) for each in made}) == 6
    assert parameters.of(LARGE_EFFORT, 5, some) is made[2]


def test_the_cache_of_parameters_is_bounded(monkeypatch):
    parameters = Parameters(index_of("IVF8,Flat").base)
    first = parameters.of(LARGE_EFFORT, 5, None)
    sizes = []
    for k in range(1, 3 * CACHED_PARAMETERS):
        parameters.of(LARGE_EFFORT, k, None)
        sizes.append(len(parameters))
    assert max(sizes) == CACHED_PARAMETERS
    assert parameters.of(LARGE_EFFORT, 5, None).k_factor == first.k_factor
    monkeypatch.setattr(
        search_effort, "CACHED_PARAMETERS", len(parameters) - 1
    )  # as if several threads had exceeded the bound together
    parameters.of(LARGE_EFFORT, 1000, None)
    assert len(parameters) == 1


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("share", [0.9, 0.5, 0.2, 0.01])
def test_only_the_requested_rows_are_searched(spec, share):
    chosen = np.flatnonzero(np.random.default_rng(2).random(COUNT) < share)
    queries, messages = vectors(20, seed=1), []
    scores, rows = index_of(spec).search(queries, 10, Subset(chosen, COUNT), explain=messages.append)
    _, expected = ExactIndex(halves(vectors(COUNT))).search(queries, 10, chosen)
    assert recall(rows, expected) >= 0.95
    assert np.isin(rows, chosen).all()
    assert np.isfinite(scores).all()
    assert messages
    again = index_of(spec).search(queries, 10, chosen)[1]
    np.testing.assert_array_equal(again, rows)


TUNED = {"depth": 50, "probes": 8, "beam": 64}


@pytest.mark.parametrize(
    ("filtered", "exactly_below"),
    [(None, SCAN_SHARE + 1e-9), ([], NEARLY_ALL), ([[0.5, TUNED], [0.25, TUNED]], 0.25)],
)
def test_filtered_searches_use_the_tuned_efforts(filtered, exactly_below, tmp_path):
    index = registry.build("IVF8,Flat", vectors(30_000))
    index.save(tmp_path / "image.faiss")
    entry = manifest_entry(index)
    assert "filtered" not in entry  # never tuned, which differs from tuned without any useful effort
    entry |= {"effort": TUNED} | ({} if filtered is None else {"filtered": filtered})
    again = load_index.load(entry, tmp_path / "image.faiss")
    assert manifest_entry(again) == entry
    for share in (0.95, 0.9, 0.7, 0.5, 0.3, 0.1, 0.05):
        messages, rows = [], np.arange(round(share * len(index)))
        again.search(vectors(1), 10, rows, explain=messages.append)
        assert ("just those, exactly" in messages[0]) == (share < exactly_below), share


def test_dead_rows_do_not_make_an_index_compare_all_rows():
    assert NEARLY_ALL <= 1 - COMPACTION_SHARE


@pytest.mark.parametrize("spec", SPECS)
def test_all_searched_rows_are_found(spec):
    queries = vectors(3, seed=1)
    for rows in (np.arange(0, COUNT, 7), np.array([4]), np.arange(0)):
        found = index_of(spec).search(queries, 1000, rows)[1]
        assert found.shape == (3, len(rows))
        assert all(set(each) == set(rows) for each in found.tolist())


def test_all_rows_are_compared_if_the_scanned_lists_hold_too_few():
    index, messages = registry.build("IVF64,Flat", halves(vectors(4000))), []
    queries = vectors(4, seed=1)
    _, rows = index.search(queries, 200, effort=Effort(depth=10, probes=1), explain=messages.append)
    np.testing.assert_array_equal(rows, ExactIndex(halves(vectors(4000))).search(queries, 200)[1])
    assert "found fewer than" in messages[-1]


@pytest.mark.parametrize("spec", SPECS)
def test_no_queries_have_no_results(spec):
    assert index_of(spec).search(vectors(0), 4)[0].shape == (0, 4)
    assert registry.build(spec, vectors(0)).search(vectors(2), 4)[1].shape == (2, 0)


@pytest.mark.parametrize("spec", SPECS)
def test_a_saved_index_gives_the_same_results(spec, tmp_path):
    index, queries = index_of(spec), vectors(4, seed=1)
    index.save(tmp_path / "image.faiss")
    again = load_index.load(manifest_entry(index), tmp_path / "image.faiss")
    assert (len(again), again.dimension, again.kind) == (COUNT, 16, index.kind)
    np.testing.assert_array_equal(again.search(queries, 9)[1], index.search(queries, 9)[1])
    np.testing.assert_array_equal(again.vectors(), halves(vectors(COUNT)))
    np.testing.assert_array_equal(again.vectors(np.array([7, 3])), halves(vectors(COUNT))[[7, 3]])


@pytest.mark.parametrize("spec", SPECS)
def test_threads_may_search_at_once(spec):
    """With different efforts and rows: a call leaves nothing in the index."""
    index, queries = index_of(spec), vectors(40, seed=1)
    subsets = [None, np.arange(0, COUNT, 2), np.arange(0, COUNT, 3)]

    def search(at):
        return index.search(queries[at : at + 1], 5, subsets[at % 3])[1][0]

    expected = [search(at) for at in range(40)]
    with ThreadPoolExecutor(8) as pool:
        np.testing.assert_array_equal(list(pool.map(search, [*range(40)] * 3)), expected * 3)


@pytest.mark.parametrize("spec", SPECS)
def test_a_damaged_file_is_refused(spec, tmp_path):
    (tmp_path / "i").write_bytes(b"nonsense")
    with pytest.raises(DamagedIndexError, match="cannot be read"):
        load_index.load(manifest_entry(index_of(spec)), tmp_path / "i")


@pytest.mark.parametrize("dimension", [1, 7, 30, 37])
def test_any_dimension_can_be_quantised(dimension):
    index = registry.build("fastscan", vectors(1500, dimension))
    assert index.kind == "fastscan"
    assert index.search(vectors(3, dimension, seed=1), 10)[1].shape == (3, 10)


def test_few_vectors_always_get_a_flat_index():
    assert registry.build("fastscan", vectors(registry.MIN_VECTORS - 1)).kind == "flat"


def test_unknown_kinds_are_refused(tmp_path):
    with pytest.raises(
        OptionError, match=r"expected one of auto, flat, exact, fastscan.* or a factory string"
    ):
        registry.build("quantum", vectors(2))
    with pytest.raises(DamagedIndexError, match="unknown kind 'quantum'"):
        registry.load("quantum", tmp_path / "i")
    with pytest.raises(OptionError, match="FAISS cannot make index 'PQ5x4fs' of 2,500 vectors of 16 numbers"):
        registry.build("PQ5x4fs", vectors(COUNT))
