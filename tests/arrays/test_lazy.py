"""Lazily read matrices, compared with the same matrices in memory."""

import numpy as np
import pytest

from retrieval.arrays import lazy
from retrieval.arrays.lazy import MappedRows, SelectedRows, StackedRows

WHOLE = np.arange(60, dtype=np.float32).reshape(20, 3)
NUMBERS = np.array([4, 19, 4, 0, 7])
MATRICES = {
    "mapped": (MappedRows(WHOLE, lambda block: 2 * block[:, :2], 2), 2 * WHOLE[:, :2]),
    "selected": (SelectedRows(WHOLE, NUMBERS), WHOLE[NUMBERS]),
    "stacked": (
        StackedRows([WHOLE[:6], WHOLE[:0], SelectedRows(WHOLE, NUMBERS)]),
        np.concatenate([WHOLE[:6], WHOLE[NUMBERS]]),
    ),
}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize(
    "rows", [slice(None), slice(1, 4), slice(None, None, 2), np.array([4, 0, 4]), np.array([], np.int64)]
)
def test_rows_equal_those_of_the_matrix_in_memory(name, rows):
    matrix, whole = MATRICES[name]
    assert (matrix.shape, len(matrix)) == (whole.shape, len(whole))
    np.testing.assert_array_equal(matrix[rows], whole[rows])
    assert matrix[rows].dtype == np.float32


def test_a_function_is_applied_block_by_block(monkeypatch):
    monkeypatch.setattr(lazy, "MAX_BLOCK_BYTES", 7 * 12)
    seen = []
    matrix = MappedRows(WHOLE, lambda block: seen.append(len(block)) or block, 3)
    np.testing.assert_array_equal(matrix[::-1], WHOLE[::-1])
    assert seen == [7, 7, 6]


@pytest.mark.parametrize("count", [0, 20])
def test_a_temporary_matrix_is_deleted_at_the_end(tmp_path, count):
    parts = (WHOLE[at : at + 6] for at in range(0, count, 6))
    with lazy.temporary_matrix(tmp_path / "rows", parts, 3) as matrix:
        assert (matrix.shape, len(matrix)) == ((count, 3), count)
        for rows in (slice(None), slice(3, 5), np.arange(count)[::-3]):
            np.testing.assert_array_equal(matrix[rows], WHOLE[:count][rows])
    assert not (tmp_path / "rows").exists()


def test_blocks_cover_every_row_once_and_are_small(monkeypatch):
    monkeypatch.setattr(lazy, "MAX_BLOCK_BYTES", 7 * 12 + 5)
    found = [WHOLE[block] for block in lazy.blocks(WHOLE)]
    assert [len(each) for each in found] == [7, 7, 6]
    np.testing.assert_array_equal(np.concatenate(found), WHOLE)
    monkeypatch.setattr(lazy, "MAX_BLOCK_BYTES", 1)
    assert len(list(lazy.blocks(WHOLE))) == 20
    assert not list(lazy.blocks(WHOLE[:0]))
