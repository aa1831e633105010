"""What eight bits say of a score is a bound, and an exact scan that goes by it stays exact."""

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
def always(monkeypatch):
    """However little there is to compare."""
    monkeypatch.setattr(scan, "INT8_MIN_PRODUCTS", 0)
    monkeypatch.setattr(scan, "INT8_MIN_QUERIES", 0)


@pytest.fixture
def reached(monkeypatch):
    """How many pairs were reached in each block, of the scans meanwhile."""
    counts = []
    real = int8_scan.Int8Scan._pairs_above

    def counted(self, request, least):
        found = real(self, request, least)
        counts.append(len(found[0]))
        return found

    monkeypatch.setattr(int8_scan.Int8Scan, "_pairs_above", counted)
    return counts


def drawn(count, seed=0, dimension=DIMENSION):
    return vectors(count, dimension, seed)


def unit(made):
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def with_a_large_mean():
    return unit(drawn(COUNT) + np.float32(3) * drawn(1, seed=2))


def with_two_large_columns():
    return unit(drawn(COUNT) * np.r_[np.full(2, 20), np.ones(DIMENSION - 2)])


def halfway():
    """Numbers that lie between two steps, all off to one side: as wrong as can be."""
    made = (np.random.default_rng(3).integers(-60, 60, (COUNT, DIMENSION)) + 0.4999) / 127
    made[:, 0] = np.random.default_rng(4).choice([-1, 1], COUNT)
    return made.astype(np.float32)


def better_and_better():
    made = drawn(COUNT)
    return made[np.argsort(made @ drawn(1, seed=1)[0])]


GALLERIES = {
    "drawn": lambda: drawn(COUNT),
    "a large mean": with_a_large_mean,
    "two large columns": with_two_large_columns,
    "halfway": halfway,
    "better and better": better_and_better,
    "in pairs": lambda: np.tile(drawn(COUNT // 2), (2, 1)),
}


def needed():
    if quantize_queries(drawn(2), drawn(1)[0]) is None:
        pytest.skip("this processor does not multiply eight bits")


@pytest.mark.parametrize("queries", [1, 130, 1100])
@pytest.mark.parametrize("name", GALLERIES)
def test_a_scan_by_eight_bits_finds_what_a_product_finds(monkeypatch, name, queries):
    gallery, asking = GALLERIES[name](), drawn(queries, seed=1)
    found = scan.best(asking, gallery, 7)
    monkeypatch.setattr(scan, "INT8_MIN_PRODUCTS", np.inf)
    for one, other in zip(found, scan.best(asking, gallery, 7), strict=True):
        np.testing.assert_array_equal(one, other)  # to the last bit: either way, what is kept is scored alike
    np.testing.assert_allclose(found[0], ExactIndex(gallery).search(asking, 7)[0], atol=1e-5)


@pytest.mark.parametrize("length", [1e-12, 0, 1e12])
def test_queries_of_any_length_find_as_much(length):
    gallery, asking = drawn(COUNT), drawn(50, seed=1)
    expected = ExactIndex(gallery).search(asking, 10)[1]
    asking[::7] *= np.float32(length)
    if not length:
        expected[::7] = np.arange(10)
    np.testing.assert_array_equal(scan.best(asking, gallery, 10)[1], expected)


def test_some_rows_are_scanned_alike():
    gallery, asking = drawn(2 * COUNT), drawn(50, seed=1)
    rows = np.flatnonzero(np.random.default_rng(2).random(len(gallery)) < 0.6)
    np.testing.assert_array_equal(
        scan.best(asking, gallery, 10, rows)[1], ExactIndex(gallery).search(asking, 10, rows)[1]
    )


def test_few_pairs_are_scored(reached):
    needed()
    gallery = drawn(scan.FIRST_ROWS + 20 * BLOCK_ROWS + 1, dimension=256)
    scan.best(drawn(100, seed=1, dimension=256), gallery, 10)
    assert len(reached) == 21
    assert sum(reached) < 100 * 200


def signs():
    return np.random.default_rng(5).choice(np.array([-1, 1], np.float32), DIMENSION)


def worst_vector():
    """All numbers of one vector are almost half a step off, all to one side of the query's."""
    block = np.tile(np.float32(-0.1) * signs(), (BLOCK_ROWS, 1))
    block[1] = -signs()  # is the reach
    block[0] = np.float32(0.4999 / 127) * signs()
    return signs(), block


def worst_query():
    """All numbers of the query but one are almost half a step off, all to the side of one vector's."""
    asking, best = np.float32(0.4999 / 127) * signs(), signs()
    asking[0] = best[0] = 1
    return asking, np.concatenate([best[None], np.tile(np.float32(-0.1) * best, (BLOCK_ROWS - 1, 1))])


@pytest.mark.parametrize("made", [worst_vector, worst_query])
def test_a_score_that_is_as_far_off_as_can_be_is_reached(made):
    """Both terms of the bound are as large here as what they bound: of a smaller one this would be lost."""
    needed()
    asking, block = made()
    least = np.atleast_1d(asking @ block[0]) - np.float32(1e-5)
    network = quantize_queries(asking[None], np.zeros(DIMENSION, np.float32))
    ((_, _, places),) = network.candidates(iter([block]), lambda: least)
    assert 0 in places
    assert len(places) == 1


@pytest.mark.parametrize("length", [1e-30, 1e-20, 1e15])
@pytest.mark.parametrize("of", ["queries", "vectors"])
def test_numbers_of_any_size_are_compared_alike(monkeypatch, length, of):
    gallery, asking = drawn(COUNT), np.eye(DIMENSION, dtype=np.float32)
    asking[:, 1:] += np.float32(0.3 / 127)
    (asking if of == "queries" else gallery)[:] *= np.float32(length)
    found = scan.best(asking, gallery, 7)
    monkeypatch.setattr(scan, "INT8_MIN_PRODUCTS", np.inf)
    for one, other in zip(found, scan.best(asking, gallery, 7), strict=True):
        np.testing.assert_array_equal(one, other)


def test_where_eight_bits_tell_too_little_the_rest_is_multiplied(reached):
    needed()
    gallery = np.repeat(drawn(2), COUNT // 2, axis=0)
    rows = scan.best(gallery[[0, -1]], gallery, 7)[1]
    np.testing.assert_array_equal(rows, [np.arange(7), COUNT // 2 + np.arange(7)])
    assert len(reached) == 1


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    large=st.floats(1, 100),
    mean=st.floats(0, 10),
    length=st.sampled_from([1e-6, 1, 1e6]),
)
def test_no_score_is_larger_than_its_bound(seed, large, mean, length):
    needed()
    random = np.random.default_rng(seed)
    scale = np.where(random.random(DIMENSION) < 0.1, large, 1)
    block = (length * (random.standard_normal((BLOCK_ROWS, DIMENSION)) * scale + mean)).astype(np.float32)
    asking = (random.standard_normal((20, DIMENSION)) / scale).astype(np.float32)
    exact = block.astype(np.float64) @ asking.T.astype(np.float64)
    # All pairs at or above each query's median have to be reached; the sizes of what float32 adds up may hide the rest.
    rounding_off = 4e-6 * np.linalg.norm(block, axis=1).max() * np.linalg.norm(asking, axis=1)
    least = np.median(exact, axis=0) + rounding_off
    ((_, owners, places),) = quantize_queries(asking, block.mean(axis=0)).candidates(
        iter([block]), lambda: (least - rounding_off).astype(np.float32)
    )
    reached = np.zeros(exact.shape, bool)
    reached[places, owners] = True
    assert reached[exact >= least].all()


def test_vectors_that_are_all_alike_have_no_reach():
    needed()
    block, asking = np.tile(drawn(1), (BLOCK_ROWS, 1)), drawn(3, seed=1)
    ((_, owners, _),) = quantize_queries(asking, block[0]).candidates(
        iter([block]), lambda: asking @ block[0] - 1e-6
    )
    assert len(owners) == 3 * BLOCK_ROWS


def test_a_processor_that_adds_in_sixteen_bits_is_not_trusted():
    def saturating(inputs):
        """As AVX2 does it: one side from 0 to 255, products added two and two, at 32,767 the most."""
        vectors, asking, _ = inputs
        bytes_, signed = 127 * vectors[None] + 128, 127 * asking[:, None]
        products = bytes_ * signed
        pairs = np.clip(products[..., ::2] + products[..., 1::2], -32768, 32767)
        return [(pairs.sum(axis=2) - 128 * signed.sum(axis=2)) / 127**2]

    def right(inputs):
        return [inputs[1] @ inputs[0].T]

    assert int8_scan._multiplies_correctly(right, 20, DIMENSION)
    assert not int8_scan._multiplies_correctly(saturating, 20, DIMENSION)


def test_where_it_cannot_be_had_all_is_multiplied(monkeypatch):
    monkeypatch.setattr(scan, "quantize_queries", lambda *_: None)
    gallery, asking = drawn(COUNT), drawn(50, seed=1)
    np.testing.assert_array_equal(
        scan.best(asking, gallery, 10)[1], ExactIndex(gallery).search(asking, 10)[1]
    )


def test_a_network_that_multiplies_wrongly_is_not_used(monkeypatch):
    needed()
    monkeypatch.setattr(int8_scan, "_multiplies_correctly", lambda *_: False)
    assert int8_scan._compiled.__wrapped__(int8_scan.QUERY_MULTIPLE, DIMENSION) is None


@pytest.mark.parametrize("kind", ["f32", "bf16"])
def test_a_network_that_is_not_run_in_eight_bits_is_not_used(monkeypatch, kind):
    """OpenVINO computes it in float32 on a processor without eight bits, which would be slower than NumPy."""

    class Core:
        def compile_model(self, *_):
            way = {
                "layerType": SimpleNamespace(astype=lambda _: "MatMul"),
                "runtimePrecision": SimpleNamespace(astype=lambda _: kind),
            }
            model = SimpleNamespace(get_ordered_ops=lambda: [SimpleNamespace(get_rt_info=lambda: way)])
            return SimpleNamespace(get_runtime_model=lambda: model)

    monkeypatch.setattr(int8_scan.module(), "Core", Core)
    assert int8_scan._compiled.__wrapped__(3, DIMENSION) is None


def test_without_openvino_all_is_multiplied(monkeypatch):
    monkeypatch.setattr(int8_scan, "find_spec", lambda _: None)
    monkeypatch.setattr(int8_scan, "_is_available", int8_scan._is_available.__wrapped__)
    assert quantize_queries(drawn(2), drawn(1)[0]) is None


def test_one_network_serves_many_numbers_of_queries():
    needed()
    before = int8_scan._compiled.cache_info().misses
    for queries in range(1, 6):
        scan.best(drawn(queries, dimension=40), drawn(COUNT, dimension=40), 3)
    assert int8_scan._compiled.cache_info().misses == before + 1


def test_only_large_batches_of_very_much_are_rounded(monkeypatch, reached):
    needed()
    gallery = drawn(COUNT)
    for many, enough, expected in ((0, 400, 0), (np.inf, 0, 0), (0, 0, 3)):
        monkeypatch.setattr(scan, "INT8_MIN_PRODUCTS", many)
        monkeypatch.setattr(scan, "INT8_MIN_QUERIES", enough)
        reached.clear()
        scan.best(drawn(399, seed=1), gallery, 10)
        assert len(reached) == expected


def test_what_must_not_be_written_to_is_read_all_the_same():
    gallery, asking = drawn(COUNT), drawn(50, seed=1)
    expected = scan.best(asking, gallery, 10)[1]
    gallery.flags.writeable = False
    np.testing.assert_array_equal(scan.best(asking, gallery, 10)[1], expected)
    shifted = np.empty(4 * gallery.size + 1, np.uint8)[1:].view(np.float32).reshape(gallery.shape)
    shifted[:] = gallery  # at odd addresses, as in a file
    np.testing.assert_array_equal(scan.best(asking, shifted, 10)[1], expected)


def test_blocks_stay_until_they_were_read(monkeypatch):
    """Also where nobody wants to know any more what came of them."""
    needed()
    real, waited = quantize_queries(drawn(3), np.zeros(DIMENSION, np.float32)), []

    class Request:
        def __init__(self, request):
            self.request = request

        def wait(self):
            self.request.wait()
            waited.append(self)

        def __getattr__(self, name):
            return getattr(self.request, name)

    real._requests = type(real._requests)(map(Request, real._requests))
    found = real.candidates((drawn(BLOCK_ROWS, seed) for seed in range(20)), lambda: np.zeros(3, np.float32))
    next(found)
    found.close()
    assert len(waited) == len(real._requests)
