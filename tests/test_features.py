"""The feature store: what was written comes back, whatever a crash cut off."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import DamagedIndexError
from retrieval.features import FeatureStore


def key(number):
    return f"{number:064x}"


def rows(count, first=0):
    return np.arange(first, first + count, dtype=np.float32)[:, None] * np.ones(3, np.float32)


def test_an_empty_store_holds_nothing(tmp_path):
    store = FeatureStore(tmp_path / "s", 3)
    assert len(store) == 0
    assert store.contents() == {}
    assert store.read(np.array([], np.int64)).shape == (0, 3)


def test_rows_come_back_in_the_order_asked_for(tmp_path):
    store = FeatureStore(tmp_path / "s", 3)
    store.append([key(0), key(1)], rows(2))
    store.append([key(2)], rows(1, first=2))
    assert store.contents() == {key(0): 0, key(1): 1, key(2): 2}
    np.testing.assert_array_equal(store.read(np.array([2, 0, 2])), rows(3)[[2, 0, 2]])


def test_a_row_that_is_not_there_is_an_error(tmp_path):
    store = FeatureStore(tmp_path / "s", 3)
    store.append([key(0)], rows(1))
    with pytest.raises(DamagedIndexError, match="holds 1 rows, row 1 is needed"):
        store.read(np.array([1]))


@given(lost_rows=st.integers(0, 40), lost_keys=st.integers(0, 70))
def test_what_a_cut_off_write_leaves_is_used_or_overwritten(tmp_path_factory, lost_rows, lost_keys):
    root = tmp_path_factory.mktemp("store")
    store = FeatureStore(root, 3)
    store.append([key(number) for number in range(5)], rows(5))
    for name, lost in (("rows.f32", lost_rows), ("keys.sha256", lost_keys)):
        path = root / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size - lost])
    kept = len(store)
    assert kept == min((60 - lost_rows) // 12, (160 - lost_keys) // 32)
    store.append([key(9)], rows(1, first=9))
    assert store.contents() == {**{key(number): number for number in range(kept)}, key(9): kept}
    np.testing.assert_array_equal(
        store.read(np.arange(kept + 1)), np.concatenate([rows(kept), rows(1, first=9)])
    )
