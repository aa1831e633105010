"""The feature store: what was written comes back, whatever a crash cut off."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.encoders.base import WHOLE, Span
from retrieval.errors import DamagedIndexError
from retrieval.features import FeatureStore


def key(number):
    return f"{number + 1:064x}"


def rows(count, first=0):
    return np.arange(first, first + count, dtype=np.float32)[:, None] * np.ones(3, np.float32)


def test_an_empty_store_holds_nothing(tmp_path):
    store = FeatureStore(tmp_path / "s", 3)
    assert len(store) == 0
    assert store.contents() == {}
    assert store.read(np.array([], np.int64)).shape == (0, 3)


def test_rows_come_back_in_the_order_asked_for(tmp_path):
    store = FeatureStore(tmp_path / "s", 3)
    store.append([key(0), key(1)], [WHOLE] * 2, rows(2))
    store.append([key(2)], [WHOLE], rows(1, first=2))
    assert store.contents() == {key(number): range(number, number + 1) for number in range(3)}
    np.testing.assert_array_equal(store.read(np.array([2, 0, 2])), rows(3)[[2, 0, 2]])


def test_a_row_that_is_not_there_is_an_error(tmp_path):
    store = FeatureStore(tmp_path / "s", 3)
    store.append([key(0)], [WHOLE], rows(1))
    with pytest.raises(DamagedIndexError, match="holds 1 rows, row 1 is needed"):
        store.read(np.array([1]))


@given(lost_rows=st.integers(0, 40), lost_records=st.integers(0, 120))
def test_what_a_cut_off_write_leaves_is_used_or_overwritten(tmp_path_factory, lost_rows, lost_records):
    root = tmp_path_factory.mktemp("store")
    store = FeatureStore(root, 3)
    store.append([key(number) for number in range(5)], [WHOLE] * 5, rows(5))
    for name, lost in (("rows.f32", lost_rows), ("contents.bin", lost_records)):
        path = root / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size - lost])
    store = FeatureStore(root, 3)
    kept = len(store)
    assert kept == min((60 - lost_rows) // 12, (320 - lost_records) // 64)
    store.append([key(9)], [WHOLE], rows(1, first=9))
    expected = {
        **{key(number): range(number, number + 1) for number in range(kept)},
        key(9): range(kept, kept + 1),
    }
    assert store.contents() == FeatureStore(root, 3).contents() == expected
    np.testing.assert_array_equal(
        store.read(np.arange(kept + 1)), np.concatenate([rows(kept), rows(1, first=9)])
    )


def test_a_long_content_has_a_row_a_segment_or_none_at_all(tmp_path):
    store = FeatureStore(tmp_path, 3)
    parts = [Span(), Span(0, 10), Span(10, 17.5)]
    store.append([key(0), key(1)], [WHOLE, parts], rows(4))
    assert store.contents() == {key(0): range(1), key(1): range(1, 4)}
    assert store.spans(range(1, 4)) == parts
    assert store.spans(range(1)) == list(WHOLE)
    records = tmp_path / "contents.bin"
    records.write_bytes(records.read_bytes()[:-1])
    assert FeatureStore(tmp_path, 3).contents() == {key(0): range(1)}
