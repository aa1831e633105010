"""The feature store: written rows are read back, whatever a crash has truncated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.encoders.base import WHOLE, Span
from retrieval.errors import DamagedIndexError
from retrieval.storage.feature_store import MAX_WINDOWS, RECORD, FeatureStore
from tests.helpers import damaged


def key(number):
    return f"{number + 1:064x}"


def rows(count, first=0):
    return np.arange(first, first + count, dtype=np.float32)[:, None] * np.ones(3, np.float32)


def test_an_empty_store_holds_nothing(tmp_path):
    store = FeatureStore(tmp_path / "s", 3)
    assert len(store) == 0
    assert store.contents() == {}
    assert store.read(np.array([], np.int64)).shape == (0, 3)


def test_rows_are_returned_in_the_requested_order(tmp_path):
    store = FeatureStore(tmp_path / "s", 3)
    store.append([key(0), key(1)], [WHOLE] * 2, rows(2))
    store.append([key(2)], [WHOLE], rows(1, first=2))
    assert store.contents() == {key(number): range(number, number + 1) for number in range(3)}
    np.testing.assert_array_equal(store.read(np.array([2, 0, 2])), rows(3)[[2, 0, 2]])
    np.testing.assert_array_equal(store[1:], rows(3)[1:])


def test_a_missing_row_is_an_error(tmp_path):
    store = FeatureStore(tmp_path / "s", 3)
    store.append([key(0)], [WHOLE], rows(1))
    with pytest.raises(DamagedIndexError, match="holds 1 rows, row 1 is needed"):
        store.read(np.array([1]))


def test_spans_and_windows_are_read_back(tmp_path):
    spans = [[Span(windows=3)], [Span(), Span(0.5, 2.0), Span(2.0, 2.5)], [Span(windows=MAX_WINDOWS + 1)]]
    store = FeatureStore(tmp_path / "s", 3)
    store.append([key(0), key(1), key(2)], spans, rows(5))
    again = FeatureStore(tmp_path / "s", 3)
    assert [again.spans(again.contents()[key(at)]) for at in (0, 1)] == spans[:2]
    assert again.spans(again.contents()[key(2)]) == [Span(windows=MAX_WINDOWS)]
    assert not len(again.damaged())


def test_older_records_without_windows_have_the_same_bytes(tmp_path):
    spans = [Span(), Span(0.0, 1.0)]
    store = FeatureStore(tmp_path, 3)
    store.append([key(0)], [spans], rows(2))
    old_record = np.dtype([(name, "<u4") if name == "following" else (name, kind) for name, kind in RECORD.descr
                       if name != "windows"])  # fmt: skip
    assert old_record.itemsize == RECORD.itemsize
    assert np.fromfile(tmp_path / "contents.bin", old_record)["following"].tolist() == [1, 0]


@given(lost_rows=st.integers(0, 40), lost_records=st.integers(0, 120))
def test_remains_of_a_truncated_write_are_used_or_overwritten(tmp_path_factory, lost_rows, lost_records):
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


def test_a_long_content_has_a_row_for_each_segment_or_no_rows(tmp_path):
    store = FeatureStore(tmp_path, 3)
    parts = [Span(), Span(0, 10), Span(10, 17.5)]
    store.append([key(0), key(1)], [WHOLE, parts], rows(4))
    assert store.contents() == {key(0): range(1), key(1): range(1, 4)}
    assert store.spans(range(1, 4)) == parts
    assert store.spans(range(1)) == list(WHOLE)
    records = tmp_path / "contents.bin"
    records.write_bytes(records.read_bytes()[:-1])
    assert FeatureStore(tmp_path, 3).contents() == {key(0): range(1)}


PARTS = [WHOLE, [Span(), Span(0, 10), Span(10, 17.5)], WHOLE, [Span(), Span(0, 4)]]
ROWS = {key(0): range(1), key(1): range(1, 4), key(2): range(4, 5), key(3): range(5, 7)}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A store of contents with one row and with several rows."""
    folder = tmp_path_factory.mktemp("mixed")
    FeatureStore(folder, 3).append(list(ROWS), PARTS, rows(7))
    return folder


@given(name=st.sampled_from(["rows.f32", "contents.bin"]), data=st.data())
def test_a_flipped_bit_damages_its_own_row_only(mixed, name, data):
    path = mixed / name
    width = path.stat().st_size // 7
    bit = data.draw(st.integers(0, 8 * path.stat().st_size - 1))
    row = bit // (8 * width)
    damaged.flip(path, bit)
    try:
        store = FeatureStore(mixed, 3)
        assert store.damaged(7).tolist() == [row]
        others = np.setdiff1d(np.arange(7), [row])
        np.testing.assert_array_equal(store.read(others), rows(7)[others])
        known = {
            content: row_range
            for content, row_range in ROWS.items()
            if row not in row_range or name == "rows.f32"
        }
        assert store.contents() == known
        if name == "rows.f32":
            with pytest.raises(DamagedIndexError, match=f"the first is row {row}: run 'xmodal repair'"):
                store.read(np.arange(7))
    finally:
        damaged.flip(path, bit)


@pytest.mark.parametrize("lost", [[0], [1, 2, 3], [5, 6], [0, 1, 2, 3, 4, 5, 6]])
def test_rows_are_marked_unused_and_written_again(mixed, tmp_path, lost):
    store = FeatureStore(damaged.copy(mixed, tmp_path / "store"), 3)
    store.mark_unused(lost)
    assert store.damaged(7).tolist() == []
    assert set(store.contents()) == {
        content for content, row_range in ROWS.items() if set(lost).isdisjoint(row_range)
    }
    with pytest.raises(DamagedIndexError, match=r"requested rows in .* are damaged or unused"):
        store.read(np.array(lost))
    contents = [content for content, row_range in ROWS.items() if set(row_range) <= set(lost)]
    spans = [PARTS[list(ROWS).index(content)] for content in contents]
    assert not store.holds(np.array([ROWS[content].start for content in contents]), contents).any()
    store.replace([ROWS[content] for content in contents], contents, spans, rows(7)[lost])
    for name in ("rows.f32", "contents.bin"):
        assert (tmp_path / "store" / name).read_bytes() == (mixed / name).read_bytes()
    assert store.contents() == ROWS


def test_rows_that_are_missing_are_damaged(mixed, tmp_path):
    folder = damaged.copy(mixed, tmp_path / "store")
    (folder / "rows.f32").write_bytes((folder / "rows.f32").read_bytes()[:50])
    assert FeatureStore(folder, 3).damaged(7).tolist() == [4, 5, 6]
    assert FeatureStore(folder, 3).damaged().tolist() == []  # a truncated write
    assert FeatureStore(tmp_path / "nowhere", 3).damaged(2).tolist() == [0, 1]


def test_zeros_are_not_rows(tmp_path):
    (tmp_path / "rows.f32").write_bytes(bytes(12 * 5))
    (tmp_path / "contents.bin").write_bytes(bytes(RECORD.itemsize * 5))
    assert (len(FeatureStore(tmp_path, 3)), FeatureStore(tmp_path, 3).contents()) == (0, {})
    assert FeatureStore(tmp_path, 3).damaged(5).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("torn", [0, 20])
def test_a_store_without_checksums_is_converted(mixed, tmp_path, torn):
    folder = damaged.copy(mixed, tmp_path / "store")
    damaged.as_before_checksums(folder)
    records = folder / "records.bin"
    records.write_bytes(records.read_bytes()[: records.stat().st_size - torn])
    kept = {content: row_range for content, row_range in ROWS.items() if not torn or row_range.stop < 7}
    store = FeatureStore(folder, 3)
    assert store.contents() == kept
    assert store.damaged(len(store)).tolist() == []
    assert sorted(path.name for path in folder.iterdir()) == ["contents.bin", "rows.f32"]
