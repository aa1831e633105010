"""Stored encoder outputs, so that nothing is encoded twice and a new alignment needs no encoding at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retrieval.errors import DamagedIndexError
from retrieval.types import Integers, Matrix

VALUE = np.dtype("<f4")
KEY_BYTES = 32


class FeatureStore:
    """One encoder's output by content: append-only files of rows, and of the SHA-256 of what each is of.

    A row is never changed or moved once it is written, so every generation refers to it by number. Rows are
    written and synced before their keys: whatever a crash leaves, the keys that are whole name rows that are,
    and the next append goes over the rest.
    """

    def __init__(self, folder: Path, dimension: int) -> None:
        self._rows = folder / "rows.f32"
        self._keys = folder / "keys.sha256"
        self._row_bytes = dimension * VALUE.itemsize
        self.dimension = dimension

    def __len__(self) -> int:
        """Number of whole rows that have a whole key."""
        return min(_size(self._keys) // KEY_BYTES, _size(self._rows) // self._row_bytes)

    def append(self, contents: Sequence[str], rows: Matrix) -> None:
        """Add ``rows`` (n, dimension) float32, the features of ``contents`` (n SHA-256 sums in hex)."""
        first = len(self)
        self._rows.parent.mkdir(parents=True, exist_ok=True)
        _write(self._rows, first * self._row_bytes, np.ascontiguousarray(rows, dtype=VALUE).tobytes())
        _write(self._keys, first * KEY_BYTES, bytes.fromhex("".join(contents)))

    def contents(self) -> dict[str, int]:
        """The row number of each content."""
        if not len(self):
            return {}
        keys = self._keys.read_bytes()
        return {keys[at * KEY_BYTES : (at + 1) * KEY_BYTES].hex(): at for at in range(len(self))}

    def read(self, rows: Integers) -> Matrix:
        """(n, dimension) float32: the rows with these numbers, in this order.

        Raises:
            DamagedIndexError: there are fewer rows than a number asks for.
        """
        if not len(rows):
            return np.empty((0, self.dimension), np.float32)
        if int(rows.max()) >= len(self):
            raise DamagedIndexError(
                f"{self._rows} holds {len(self)} rows, row {int(rows.max())} is needed: "
                "restore the index from a copy or rebuild it"
            )
        count = _size(self._rows) // self._row_bytes
        stored = np.memmap(self._rows, dtype=VALUE, mode="r", shape=(count, self.dimension))
        return np.asarray(stored[rows], dtype=np.float32)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _write(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.seek(at)
        file.write(data)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
