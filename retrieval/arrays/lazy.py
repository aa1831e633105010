"""Matrices that need not be in memory: their rows are read when they are asked for, some at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from retrieval.types import Integers, Matrix

MAX_BLOCK_BYTES = 2**22
"""Bytes of rows that are held at once, wherever all of a matrix is gone through: with what is computed of them they
stay in the processor's cache."""


class MatrixLike(Protocol):
    """A (n, d) float32 array, or what reads rows of one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Matrix:
        """The rows of a slice or of an array of numbers."""
        ...


@dataclass(frozen=True, slots=True)
class Chosen:
    """Some rows of a matrix, in an order of their own.

    Attributes:
        matrix: which reads them.
        numbers: (n,) int64.
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
class Applied:
    """What is made of each row of a matrix.

    Attributes:
        matrix: which reads them.
        function: (n, d) to (n, columns) float32, each row by itself.
        columns: of what it makes.
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
        chosen = Chosen(self.matrix, numbered(rows, len(self)))
        out = np.empty((len(chosen), self.columns), np.float32)
        for chunk in blocks(chosen):
            out[chunk] = self.function(np.asarray(chosen[chunk], np.float32))
        return out


@dataclass(frozen=True, slots=True)
class Stacked:
    """The rows of several matrices, one behind the other.

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
        numbers = numbered(rows, len(self))
        out = np.empty((len(numbers), self.shape[1]), np.float32)
        start = 0
        for matrix in self.matrices:
            own = (numbers >= start) & (numbers < start + len(matrix))
            out[own] = matrix[numbers[own] - start]
            start += len(matrix)
        return out


@dataclass(frozen=True, slots=True)
class Filed:
    """A matrix in a file.

    Attributes:
        path: of its numbers alone, row by row.
        shape: (n, d).
    """

    path: Path
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Matrix:
        # A map of its own, which ends with the reading: the pages of one that stays would count as held.
        mapped = (
            np.memmap(self.path, np.float32, "r", shape=self.shape) if len(self) else np.empty(self.shape)
        )
        found: Matrix = np.array(mapped[rows], np.float32)
        return found


@contextmanager
def filed(path: Path, parts: Iterable[Matrix], columns: int) -> Iterator[Filed]:
    """The rows of all ``parts``, (m, columns) each, in a file that is there as long as they are needed."""
    count = 0
    try:
        with path.open("wb") as file:
            for part in parts:
                file.write(np.ascontiguousarray(part, np.float32).data)
                count += len(part)
        yield Filed(path, (count, columns))
    finally:
        path.unlink(missing_ok=True)


def numbered(rows: slice | Integers, count: int) -> Integers:
    """Which of ``count`` rows these are, a slice of them or their numbers."""
    return np.arange(*rows.indices(count)) if isinstance(rows, slice) else np.asarray(rows)


def blocks(matrix: MatrixLike) -> Iterator[slice]:
    """Slices of rows that cover ``matrix`` in order, of at most ``MAX_BLOCK_BYTES`` bytes each."""
    return slices(len(matrix), max(1, MAX_BLOCK_BYTES // (4 * max(1, matrix.shape[1]))))


def slices(count: int, size: int) -> Iterator[slice]:
    """Slices of at most ``size`` that cover ``count`` rows in order."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
