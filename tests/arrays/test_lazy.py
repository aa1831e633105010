"""Matrices that read their rows when they are asked for them, beside the same in memory."""

import numpy as np
import pytest

from retrieval.arrays import lazy
from retrieval.arrays.lazy import MappedRows, SelectedRows, StackedRows

WHOLE = np.arange(60, dtype=np.float32).reshape(20, 3)
NUMBERS = np.array([4, 19, 4, 0, 7])
WAYS = {
    "applied": (MappedRows(WHOLE, lambda some: 2 * some[:, :2], 2), 2 * WHOLE[:, :2]),
    "chosen": (SelectedRows(WHOLE, NUMBERS), WHOLE[NUMBERS]),
    "stacked": (
        StackedRows([WHOLE[:6], WHOLE[:0], SelectedRows(WHOLE, NUMBERS)]),
        np.concatenate([WHOLE[:6], WHOLE[NUMBERS]]),
    ),
}


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize(
    "asked", [slice(None), slice(1, 4), slice(None, None, 2), np.array([4, 0, 4]), np.array([], np.int64)]
)
def test_rows_are_those_of_the_matrix_in_memory(name, asked):
    matrix, whole = WAYS[name]
    assert (matrix.shape, len(matrix)) == (whole.shape, len(whole))
    np.testing.assert_array_equal(matrix[asked], whole[asked])
    assert matrix[asked].dtype == np.float32


def test_a_function_is_applied_to_few_rows_at_once(monkeypatch):
    monkeypatch.setattr(lazy, "MAX_BLOCK_BYTES", 7 * 12)
    seen = []
    matrix = MappedRows(WHOLE, lambda some: seen.append(len(some)) or some, 3)
    np.testing.assert_array_equal(matrix[::-1], WHOLE[::-1])
    assert seen == [7, 7, 6]


@pytest.mark.parametrize("count", [0, 20])
def test_a_file_of_rows_is_there_as_long_as_it_is_needed(tmp_path, count):
    parts = (WHOLE[at : at + 6] for at in range(0, count, 6))
    with lazy.temporary_matrix(tmp_path / "rows", parts, 3) as kept:
        assert (kept.shape, len(kept)) == ((count, 3), count)
        for asked in (slice(None), slice(3, 5), np.arange(count)[::-3]):
            np.testing.assert_array_equal(kept[asked], WHOLE[:count][asked])
    assert not (tmp_path / "rows").exists()


def test_blocks_cover_every_row_once_and_hold_few(monkeypatch):
    monkeypatch.setattr(lazy, "MAX_BLOCK_BYTES", 7 * 12 + 5)
    found = [WHOLE[block] for block in lazy.blocks(WHOLE)]
    assert [len(each) for each in found] == [7, 7, 6]
    np.testing.assert_array_equal(np.concatenate(found), WHOLE)
    monkeypatch.setattr(lazy, "MAX_BLOCK_BYTES", 1)
    assert len(list(lazy.blocks(WHOLE))) == 20
    assert not list(lazy.blocks(WHOLE[:0]))
