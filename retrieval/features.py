"""Stored encoder outputs, so that nothing is encoded twice and a new alignment needs no encoding at all."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path

import numpy as np

from retrieval.encoders.base import Span
from retrieval.errors import DamagedIndexError
from retrieval.types import Integers, Matrix

VALUE = np.dtype("<f4")
RECORD = np.dtype(
    [("content", "V32"), ("following", "<u2"), ("windows", "<u2"), ("start", "<f8"), ("end", "<f8")]
)
"""What a row is of: a content's SHA-256, how many more rows that has, and the span (0 and NaN for None)."""

MOST_WINDOWS = np.iinfo(np.uint16).max
"""Windows that can be told of a text; of the whole of Proust there are more, and that is what is told."""


class FeatureStore:
    """One encoder's output by content: two append-only files, one of feature rows and one of their records.

    A content has one row or, if it is long, several that follow each other. A row is never changed or moved
    once it is written, so every generation refers to it by number. Rows are written and synced before their
    records: whatever a crash leaves, contents with all their records have all their rows, and the next append
    goes over the rest.
    """

    def __init__(self, folder: Path, dimension: int) -> None:
        self._rows = folder / "rows.f32"
        self._records = folder / "records.bin"
        self._numerics = folder / "numerics.txt"
        self._row_bytes = dimension * VALUE.itemsize
        self.dimension = dimension
        self._length: int | None = None

    def __len__(self) -> int:
        """Number of rows of whole contents."""
        if self._length is None:
            last = np.flatnonzero(self._read_records()["following"] == 0)
            self._length = int(last[-1]) + 1 if len(last) else 0
        return self._length

    def append(self, contents: Sequence[str], spans: Sequence[Sequence[Span]], rows: Matrix) -> None:
        """Add the features of some contents.

        Args:
            contents: their SHA-256 sums, in hex.
            spans: for each content, the span of each of its rows.
            rows: (n, dimension) float32, one content's after the other's.
        """
        first = len(self)
        records = np.array(
            [
                (
                    bytes.fromhex(content),
                    len(parts) - at - 1,
                    min(part.windows or 0, MOST_WINDOWS),
                    _number(part.start),
                    _number(part.end),
                )
                for content, parts in zip(contents, spans, strict=True)
                for at, part in enumerate(parts)
            ],
            dtype=RECORD,
        )
        self._rows.parent.mkdir(parents=True, exist_ok=True)
        _write(self._rows, first * self._row_bytes, np.ascontiguousarray(rows, dtype=VALUE).tobytes())
        _write(self._records, first * RECORD.itemsize, records.tobytes())
        self._length = first + len(records)

    def contents(self) -> dict[str, range]:
        """The numbers of the rows of each content."""
        records = self._read_records()[: len(self)]
        ends = np.flatnonzero(records["following"] == 0) + 1
        starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
        return {
            records["content"][start].tobytes().hex(): range(start, end)
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        }

    def spans(self, rows: range) -> list[Span]:
        """What part of its medium each of these rows is of."""
        records = self._read_records()[rows.start : rows.stop]
        columns = (records[name].tolist() for name in ("start", "end", "windows"))
        return [
            Span(None if isnan(start) else start, None if isnan(end) else end, windows or None)
            for start, end, windows in zip(*columns, strict=True)
        ]

    @property
    def numerics(self) -> list[str]:
        """What rows were computed by, as ``Encoder.numerics`` says it."""
        if not self._numerics.exists():
            return []
        return self._numerics.read_text(encoding="utf-8").splitlines()

    def note(self, numerics: str) -> None:
        """Say what rows are going to be computed by."""
        if numerics not in self.numerics:
            self._numerics.parent.mkdir(parents=True, exist_ok=True)
            with self._numerics.open("a", encoding="utf-8") as file:
                file.write(f"{numerics}\n")

    def read(self, rows: Integers) -> Matrix:
        """(n, dimension) float32: the rows with these numbers, in this order.

        Raises:
            DamagedIndexError: there are fewer rows than a number asks for.
        """
        if not len(rows):
            return np.empty((0, self.dimension), np.float32)
        count = _size(self._rows) // self._row_bytes
        if int(rows.max()) >= count:
            raise DamagedIndexError(
                f"{self._rows} holds {count} rows, row {int(rows.max())} is needed: "
                "restore or rebuild the index"
            )
        stored = np.memmap(self._rows, dtype=VALUE, mode="r", shape=(count, self.dimension))
        return np.asarray(stored[rows], dtype=np.float32)

    def _read_records(self) -> np.ndarray[tuple[int], np.dtype[np.void]]:
        """The records that are whole and whose rows are."""
        count = min(_size(self._records) // RECORD.itemsize, _size(self._rows) // self._row_bytes)
        if not count:
            return np.empty(0, RECORD)
        return np.memmap(self._records, dtype=RECORD, mode="r", shape=(count,))


def first_rows(stored: Mapping[str, range], contents: Sequence[str]) -> Integers:
    """(n,) int64: the first row of each content, which is that of the whole medium."""
    return np.array([stored[content].start for content in contents], dtype=np.int64)


def _number(seconds: float | None) -> float:
    return np.nan if seconds is None else seconds


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _write(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.seek(at)
        file.write(data)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
