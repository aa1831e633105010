"""Matrices whose rows are read lazily, a few at a time, so that they need not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from retrieval.types import Integers, Matrix

MAX_BLOCK_BYTES = 2**22
"""Bytes of rows held at once wherever a whole matrix is processed: these rows and what is computed from them stay in
the processor's cache."""


class MatrixLike(Protocol):
    """A (n, d) float32 array, or a reader of its rows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Matrix:
        """Return the rows of a slice or of an array of row numbers."""
        ...


@dataclass(frozen=True, slots=True)
class SelectedRows:
    """Selected rows of a matrix, in any order.

    Attributes:
        matrix: the matrix that they are read from.
        numbers: (n,) int64 row numbers.
    """

    matrix: MatrixLike
    numbers: Integers

    @property
    def shape(self) -> tuple[int, ...]:
        """See ``MatrixLike``."""
        return len(self.numbers), self.matrix.shape[1]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: Any) -> Matrix:
        return self.matrix[self.numbers[rows]]


@dataclass(frozen=True, slots=True)
class MappedRows:
    """A matrix with a function applied lazily to each row.

    Attributes:
        matrix: the matrix that rows are read from.
        function: maps (n, d) to (n, columns) float32, each row independently.
        columns: columns of the function's result.
    """

    matrix: MatrixLike
    function: Callable[[Matrix], Matrix]
    columns: int

    @property
    def shape(self) -> tuple[int, ...]:
        """See ``MatrixLike``."""
        return len(self.matrix), self.columns

    def __len__(self) -> int:
        return len(self.matrix)

    def __getitem__(self, rows: Any) -> Matrix:
        selected = SelectedRows(self.matrix, row_numbers(rows, len(self)))
        out = np.empty((len(selected), self.columns), np.float32)
        for block in blocks(selected):
            out[block] = self.function(np.asarray(selected[block], np.float32))
        return out


@dataclass(frozen=True, slots=True)
class StackedRows:
    """The rows of several matrices, one matrix after another.

    Attributes:
        matrices: at least one, all with the same number of columns.
    """

    matrices: Sequence[MatrixLike]

    @property
    def shape(self) -> tuple[int, ...]:
        """See ``MatrixLike``."""
        return len(self), self.matrices[0].shape[1]

    def __len__(self) -> int:
        return sum(map(len, self.matrices))

    def __getitem__(self, rows: Any) -> Matrix:
        numbers = row_numbers(rows, len(self))
        out = np.empty((len(numbers), self.shape[1]), np.float32)
        start = 0
        for matrix in self.matrices:
            inside = (numbers >= start) & (numbers < start + len(matrix))
            out[inside] = matrix[numbers[inside] - start]
            start += len(matrix)
        return out


@dataclass(frozen=True, slots=True)
class FileMatrix:
    """A float32 matrix in a file.

    Attributes:
        path: file with the numbers alone, row by row.
        shape: (n, d).
    """

    path: Path
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Matrix:
        # Each read maps the file for itself: pages of a map that stays open would count as memory in use.
        mapped = (
            np.memmap(self.path, np.float32, "r", shape=self.shape) if len(self) else np.empty(self.shape)
        )
        selected: Matrix = np.array(mapped[rows], np.float32)
        return selected


@contextmanager
def temporary_matrix(path: Path, parts: Iterable[Matrix], columns: int) -> Iterator[FileMatrix]:
    """Write the rows of all ``parts``, (m, columns) each, to a file that is deleted at the end."""
    count = 0
    try:
        with path.open("wb") as file:
            for part in parts:
                file.write(np.ascontiguousarray(part, np.float32).data)
                count += len(part)
        yield FileMatrix(path, (count, columns))
    finally:
        path.unlink(missing_ok=True)


def row_numbers(rows: slice | Integers, count: int) -> Integers:
    """Return row numbers for ``rows``, a slice of ``count`` rows or row numbers already."""
    return np.arange(*rows.indices(count)) if isinstance(rows, slice) else np.asarray(rows)


def blocks(matrix: MatrixLike) -> Iterator[slice]:
    """Return slices of rows that cover ``matrix`` in order, of at most ``MAX_BLOCK_BYTES`` bytes each."""
    return slices(len(matrix), max(1, MAX_BLOCK_BYTES // (4 * max(1, matrix.shape[1]))))


def slices(count: int, size: int) -> Iterator[slice]:
    """Return slices of at most ``size`` rows that cover ``count`` rows in order."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
