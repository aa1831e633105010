"""8-bit scores have a correct error bound, and an exact scan that uses them stays exact."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.vectors import int8_scan, scan
from retrieval.vectors.exact import ExactIndex
from retrieval.vectors.int8_scan import BLOCK_ROWS, quantize_queries
from tests.vectors.test_vector_indexes import vectors

COUNT = scan.FIRST_ROWS + 2 * BLOCK_ROWS + 37
DIMENSION = 48


@pytest.fixture(autouse=True)
def use_int8_always(monkeypatch):
    """Use 8-bit scores for scans of any size."""
    monkeypatch.setattr(scan, "INT8_MIN_PRODUCTS", 0)
    monkeypatch.setattr(scan, "INT8_MIN_QUERIES", 0)


@pytest.fixture
def pair_counts(monkeypatch):
    """The number of candidate pairs in each block of all scans."""
    counts = []
    real = int8_scan.Int8Scan._pairs_above

    def counted(self, request, threshold):
        found = real(self, request, threshold)
        counts.append(len(found[0]))
        return found

    monkeypatch.setattr(int8_scan.Int8Scan, "_pairs_above", counted)
    return counts


def random_rows(count, seed=0, dimension=DIMENSION):
    return vectors(count, dimension, seed)


def unit(made):
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def with_a_large_mean():
    return unit(random_rows(COUNT) + np.float32(3) * random_rows(1, seed=2))


def with_two_large_columns():
    return unit(random_rows(COUNT) * np.r_[np.full(2, 20), np.ones(DIMENSION - 2)])


def halfway():
    """Numbers halfway between two steps, all rounded in one direction: the largest rounding error."""
    made = (np.random.default_rng(3).integers(-60, 60, (COUNT, DIMENSION)) + 0.4999) / 127
    made[:, 0] = np.random.default_rng(4).choice([-1, 1], COUNT)
    return made.astype(np.float32)


def better_and_better():
    made = random_rows(COUNT)
    return made[np.argsort(made @ random_rows(1, seed=1)[0])]


GALLERIES = {
    "drawn": lambda: random_rows(COUNT),
    "a large mean": with_a_large_mean,
    "two large columns": with_two_large_columns,
    "halfway": halfway,
    "better and better": better_and_better,
    "in pairs": lambda: np.tile(random_rows(COUNT // 2), (2, 1)),
}


def require_int8():
    if quantize_queries(random_rows(2), random_rows(1)[0]) is None:
        pytest.skip("this processor does not multiply 8-bit numbers")


@pytest.mark.parametrize("queries", [1, 130, 1100])
@pytest.mark.parametrize("name", GALLERIES)
def test_a_scan_with_int8_scores_equals_one_with_a_product(monkeypatch, name, queries):
    gallery, queries = GALLERIES[name](), random_rows(queries, seed=1)
    found = scan.best(queries, gallery, 7)
    monkeypatch.setattr(scan, "INT8_MIN_PRODUCTS", np.inf)
    for one, other in zip(found, scan.best(queries, gallery, 7), strict=True):
        np.testing.assert_array_equal(
            one, other
        )  # bit for bit: in both cases, kept pairs are scored in the same way
    np.testing.assert_allclose(found[0], ExactIndex(gallery).search(queries, 7)[0], atol=1e-5)


@pytest.mark.parametrize("length", [1e-12, 0, 1e12])
def test_queries_of_any_length_have_the_same_results(length):
    gallery, queries = random_rows(COUNT), random_rows(50, seed=1)
    expected = ExactIndex(gallery).search(queries, 10)[1]
    queries[::7] *= np.float32(length)
    if not length:
        expected[::7] = np.arange(10)
    np.testing.assert_array_equal(scan.best(queries, gallery, 10)[1], expected)


def test_a_subset_of_rows_is_scanned_exactly():
    gallery, queries = random_rows(2 * COUNT), random_rows(50, seed=1)
    rows = np.flatnonzero(np.random.default_rng(2).random(len(gallery)) < 0.6)
    np.testing.assert_array_equal(
        scan.best(queries, gallery, 10, rows)[1], ExactIndex(gallery).search(queries, 10, rows)[1]
    )


def test_few_pairs_are_candidates(pair_counts):
    require_int8()
    gallery = random_rows(scan.FIRST_ROWS + 20 * BLOCK_ROWS + 1, dimension=256)
    scan.best(random_rows(100, seed=1, dimension=256), gallery, 10)
    assert len(pair_counts) == 21
    assert sum(pair_counts) < 100 * 200


def signs():
    return np.random.default_rng(5).choice(np.array([-1, 1], np.float32), DIMENSION)


def worst_vector():
    """All numbers of one vector have an error of almost half a step, all in one direction relative to the query."""
    block = np.tile(np.float32(-0.1) * signs(), (BLOCK_ROWS, 1))
    block[1] = -signs()  # sets the scale
    block[0] = np.float32(0.4999 / 127) * signs()
    return signs(), block


def worst_query():
    """All numbers of the query but one have an error of almost half a step, all in the direction of one vector."""
    queries, best = np.float32(0.4999 / 127) * signs(), signs()
    queries[0] = best[0] = 1
    return queries, np.concatenate([best[None], np.tile(np.float32(-0.1) * best, (BLOCK_ROWS - 1, 1))])


@pytest.mark.parametrize("made", [worst_vector, worst_query])
def test_a_score_with_the_largest_error_is_a_candidate(made):
    """Each error equals its term of the bound here: with a smaller bound the pair would be lost."""
    require_int8()
    queries, block = made()
    threshold = np.atleast_1d(queries @ block[0]) - np.float32(1e-5)
    network = quantize_queries(queries[None], np.zeros(DIMENSION, np.float32))
    ((_, _, positions),) = network.candidates(iter([block]), lambda: threshold)
    assert 0 in positions
    assert len(positions) == 1


@pytest.mark.parametrize("length", [1e-30, 1e-20, 1e15])
@pytest.mark.parametrize("of", ["queries", "vectors"])
def test_numbers_of_any_size_give_the_same_results(monkeypatch, length, of):
    gallery, queries = random_rows(COUNT), np.eye(DIMENSION, dtype=np.float32)
    queries[:, 1:] += np.float32(0.3 / 127)
    (queries if of == "queries" else gallery)[:] *= np.float32(length)
    found = scan.best(queries, gallery, 7)
    monkeypatch.setattr(scan, "INT8_MIN_PRODUCTS", np.inf)
    for one, other in zip(found, scan.best(queries, gallery, 7), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_scan_uses_a_product_if_too_many_pairs_are_candidates(pair_counts):
    require_int8()
    gallery = np.repeat(random_rows(2), COUNT // 2, axis=0)
    rows = scan.best(gallery[[0, -1]], gallery, 7)[1]
    np.testing.assert_array_equal(rows, [np.arange(7), COUNT // 2 + np.arange(7)])
    assert len(pair_counts) == 1


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    large=st.floats(1, 100),
    mean=st.floats(0, 10),
    length=st.sampled_from([1e-6, 1, 1e6]),
)
def test_no_error_exceeds_its_bound(seed, large, mean, length):
    require_int8()
    random = np.random.default_rng(seed)
    scale = np.where(random.random(DIMENSION) < 0.1, large, 1)
    block = (length * (random.standard_normal((BLOCK_ROWS, DIMENSION)) * scale + mean)).astype(np.float32)
    queries = (random.standard_normal((20, DIMENSION)) / scale).astype(np.float32)
    exact = block.astype(np.float64) @ queries.T.astype(np.float64)
    # All pairs at or above each query's median must be candidates; float32 rounding of sums may hide the others.
    rounding_off = 4e-6 * np.linalg.norm(block, axis=1).max() * np.linalg.norm(queries, axis=1)
    threshold = np.median(exact, axis=0) + rounding_off
    ((_, query_rows, positions),) = quantize_queries(queries, block.mean(axis=0)).candidates(
        iter([block]), lambda: (threshold - rounding_off).astype(np.float32)
    )
    is_candidate = np.zeros(exact.shape, bool)
    is_candidate[positions, query_rows] = True
    assert is_candidate[exact >= threshold].all()


def test_identical_vectors_have_no_scale():
    require_int8()
    block, queries = np.tile(random_rows(1), (BLOCK_ROWS, 1)), random_rows(3, seed=1)
    ((_, query_rows, _),) = quantize_queries(queries, block[0]).candidates(
        iter([block]), lambda: queries @ block[0] - 1e-6
    )
    assert len(query_rows) == 3 * BLOCK_ROWS


def test_a_processor_that_adds_in_16_bits_is_not_used():
    def saturating(inputs):
        """Multiply as AVX2: one side from 0 to 255, products added in pairs, limited to 32,767."""
        vectors, queries, _ = inputs
        bytes_, signed = 127 * vectors[None] + 128, 127 * queries[:, None]
        products = bytes_ * signed
        pairs = np.clip(products[..., ::2] + products[..., 1::2], -32768, 32767)
        return [(pairs.sum(axis=2) - 128 * signed.sum(axis=2)) / 127**2]

    def correct(inputs):
        return [inputs[1] @ inputs[0].T]

    assert int8_scan._multiplies_correctly(correct, 20, DIMENSION)
    assert not int8_scan._multiplies_correctly(saturating, 20, DIMENSION)


def test_without_int8_all_pairs_are_multiplied(monkeypatch):
    monkeypatch.setattr(scan, "quantize_queries", lambda *_: None)
    gallery, queries = random_rows(COUNT), random_rows(50, seed=1)
    np.testing.assert_array_equal(
        scan.best(queries, gallery, 10)[1], ExactIndex(gallery).search(queries, 10)[1]
    )


def test_a_network_that_multiplies_with_errors_is_not_used(monkeypatch):
    require_int8()
    monkeypatch.setattr(int8_scan, "_multiplies_correctly", lambda *_: False)
    assert int8_scan._compiled.__wrapped__(int8_scan.QUERY_MULTIPLE, DIMENSION) is None


@pytest.mark.parametrize("kind", ["f32", "bf16"])
def test_a_network_that_does_not_run_in_8_bits_is_not_used(monkeypatch, kind):
    """On a processor without 8-bit instructions OpenVINO computes in float32, which would be slower than NumPy."""

    class Core:
        def compile_model(self, *_):
            way = {
                "layerType": SimpleNamespace(astype=lambda _: "MatMul"),
                "runtimePrecision": SimpleNamespace(astype=lambda _: kind),
            }
            model = SimpleNamespace(get_ordered_ops=lambda: [SimpleNamespace(get_rt_info=lambda: way)])
            return SimpleNamespace(get_runtime_model=lambda: model)

    monkeypatch.setattr(int8_scan.import_openvino(), "Core", Core)
    assert int8_scan._compiled.__wrapped__(3, DIMENSION) is None


def test_without_openvino_int8_is_not_used(monkeypatch):
    monkeypatch.setattr(int8_scan, "find_spec", lambda _: None)
    monkeypatch.setattr(int8_scan, "_is_available", int8_scan._is_available.__wrapped__)
    assert quantize_queries(random_rows(2), random_rows(1)[0]) is None


def test_one_network_serves_different_numbers_of_queries():
    require_int8()
    before = int8_scan._compiled.cache_info().misses
    for queries in range(1, 6):
        scan.best(random_rows(queries, dimension=40), random_rows(COUNT, dimension=40), 3)
    assert int8_scan._compiled.cache_info().misses == before + 1


def test_int8_is_used_only_for_large_batches_and_galleries(monkeypatch, pair_counts):
    require_int8()
    gallery = random_rows(COUNT)
    for many, enough, expected in ((0, 400, 0), (np.inf, 0, 0), (0, 0, 3)):
        monkeypatch.setattr(scan, "INT8_MIN_PRODUCTS", many)
        monkeypatch.setattr(scan, "INT8_MIN_QUERIES", enough)
        pair_counts.clear()
        scan.best(random_rows(399, seed=1), gallery, 10)
        assert len(pair_counts) == expected


def test_read_only_and_unaligned_galleries_are_scanned():
    gallery, queries = random_rows(COUNT), random_rows(50, seed=1)
    expected = scan.best(queries, gallery, 10)[1]
    gallery.flags.writeable = False
    np.testing.assert_array_equal(scan.best(queries, gallery, 10)[1], expected)
    shifted = np.empty(4 * gallery.size + 1, np.uint8)[1:].view(np.float32).reshape(gallery.shape)
    shifted[:] = gallery  # unaligned, as in a file
    np.testing.assert_array_equal(scan.best(queries, shifted, 10)[1], expected)


def test_blocks_are_kept_until_they_have_been_read(monkeypatch):
    """Also if the caller stops early."""
    require_int8()
    real, waited = quantize_queries(random_rows(3), np.zeros(DIMENSION, np.float32)), []

    class Request:
        def __init__(self, request):
            self.request = request

        def wait(self):
            self.request.wait()
            waited.append(self)

        def __getattr__(self, name):
            return getattr(self.request, name)

    real._requests = type(real._requests)(map(Request, real._requests))
    found = real.candidates(
        (random_rows(BLOCK_ROWS, seed) for seed in range(20)), lambda: np.zeros(3, np.float32)
    )
    next(found)
    found.close()
    assert len(waited) == len(real._requests)
