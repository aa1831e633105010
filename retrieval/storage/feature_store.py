"""Stored encoder outputs, so that nothing is encoded twice and a new alignment needs no encoding at all."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.arrays.lazy import numbered
from retrieval.encoders.base import Span
from retrieval.errors import DamagedIndexError
from retrieval.types import Integers, Matrix

VALUE = np.dtype("<f4")
RECORD = np.dtype(
    [
        ("content", "V32"),
        ("at", "<u4"),
        ("following", "<u2"),
        ("windows", "<u2"),
        ("start", "<f8"),
        ("end", "<f8"),
        ("row", "<u4"),
        ("record", "<u4"),
    ]
)
"""What a row is of: a content's SHA-256, which of its rows this is and how many more follow, the windows it was
read in (0 for None) and the span (NaN for the whole); then the CRC-32 of the row, and of all that stands before it in
the record. Where there are no windows, these are the bytes of records in which ``following`` had 4 of them."""

MOST_WINDOWS = np.iinfo(np.uint16).max
"""Windows that can be told of a text; of the whole of Proust there are more, and that is what is told."""

NOTHING = bytes(32)
"""The content of a row that was given up."""

BLOCK_BYTES = 1 << 24
"""Bytes of rows that are checked at once."""

_NUMERICS = ".numerics"

Records = NDArray[np.void]


class FeatureStore:
    """One encoder's output by content: two append-only files, one of feature rows and one of their records.

    A content has one row or, if it is long, several that follow each other. A row is never changed or moved
    once it is written, so every generation refers to it by number. Rows are written and synced before their
    records: whatever a crash leaves, contents with all their records have all their rows, and the next append
    goes over the rest.

    Each record and each row has a checksum, so that what is damaged is known row by row and nothing else has
    to be encoded again. It is the CRC-32 of zlib: it finds every single flipped bit and every damaged stretch
    of up to 32, leaves one in four thousand million of anything else, and hardly costs time at this size.
    """

    def __init__(self, folder: Path, dimension: int) -> None:
        self._rows, self._contents = folder / "rows.f32", folder / "contents.bin"
        self._former = folder / "records.bin"
        self._row_bytes = dimension * VALUE.itemsize
        self.dimension = dimension
        self._length: int | None = None

    def __getitem__(self, rows: slice | Integers) -> Matrix:
        """See ``read``."""
        return self.read(numbered(rows, len(self)))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows up to the last whole one, and columns."""
        return len(self), self.dimension

    def __len__(self) -> int:
        """Number of rows up to the last whole one."""
        if self._length is None:
            records, sound = self._read_records()
            last = np.flatnonzero(sound & (records["following"] == 0))
            self._length = int(last[-1]) + 1 if len(last) else 0
        return self._length

    @property
    def files(self) -> list[Path]:
        """All there are of it, the rows first."""
        return [self._rows, self._contents, *self._rows.parent.glob(f"*{_NUMERICS}")]

    def append(self, contents: Sequence[str], spans: Sequence[Sequence[Span]], rows: Matrix) -> None:
        """Add the features of some contents.

        Args:
            contents: their SHA-256 sums, in hex.
            spans: for each content, the span of each of its rows.
            rows: (n, dimension) float32, one content's after the other's.
        """
        first = len(self)
        data, records = _stored(contents, spans, rows)
        self._rows.parent.mkdir(parents=True, exist_ok=True)
        _write(self._rows, [(first * self._row_bytes, data.tobytes())], cut=True)
        _write(self._contents, [(first * RECORD.itemsize, records.tobytes())], cut=True)
        self._length = first + len(records)

    def replace(
        self, places: Sequence[range], contents: Sequence[str], spans: Sequence[Sequence[Span]], rows: Matrix
    ) -> None:
        """Write the features of some contents to where they stood before they were damaged.

        Args:
            places: for each content the numbers of its rows, as many as it has spans.
            contents: their SHA-256 sums, in hex.
            spans: for each content, the span of each of its rows.
            rows: (n, dimension) float32, one content's after the other's.
        """
        data, records = _stored(contents, spans, rows)
        numbers = [number for place in places for number in place]
        self._put(numbers, data, records)

    def give_up(self, rows: Sequence[int]) -> None:
        """Let these rows stand for nothing, so that what they were of counts as not encoded."""
        data = np.zeros((len(rows), self.dimension), VALUE)
        self._put(rows, data, _recorded([NOTHING] * len(rows), [[Span()]] * len(rows), data))

    def contents(self) -> dict[str, range]:
        """The numbers of the rows of each content whose records are all there and sound."""
        records, sound = self._read_records()
        if not len(records):
            return {}
        at, following, words = records["at"], records["following"], _words(records["content"])
        goes_on = np.zeros(len(records), bool)  # with the next row of the same content
        goes_on[1:] = sound[1:] & sound[:-1] & (at[1:] == at[:-1] + 1) & (following[:-1] == following[1:] + 1)
        goes_on[1:] &= (words[1:] == words[:-1]).all(axis=1)
        starts = np.flatnonzero(~goes_on)
        ends = np.append(starts[1:], len(records))
        whole = sound[starts] & (at[starts] == 0) & (ends - starts == following[starts].astype(np.int64) + 1)
        whole &= words[starts].any(axis=1)
        return {
            records["content"][start].tobytes().hex(): range(start, end)
            for start, end in zip(starts[whole].tolist(), ends[whole].tolist(), strict=True)
        }

    def spans(self, rows: range) -> list[Span]:
        """What part of its medium each of these rows is of."""
        records = self._map(self._contents, RECORD)[rows.start : rows.stop]
        columns = (records[name].tolist() for name in ("start", "end", "windows"))
        return [
            Span(None if isnan(start) else start, None if isnan(end) else end, windows or None)
            for start, end, windows in zip(*columns, strict=True)
        ]

    @property
    def numerics(self) -> list[str]:
        """What rows were computed by, as ``Encoder.numerics`` says it."""
        return sorted(file.stem for file in self._rows.parent.glob(f"*{_NUMERICS}"))

    def note(self, numerics: str) -> None:
        """Say what rows are going to be computed by."""
        # An empty file of that name: there is nothing in it that could be damaged.
        self._rows.parent.mkdir(parents=True, exist_ok=True)
        self._rows.with_name(numerics + _NUMERICS).touch()

    def read(self, rows: Integers) -> Matrix:
        """(n, dimension) float32: the rows with these numbers, in this order.

        Raises:
            DamagedIndexError: there are fewer rows than a number asks for, or one is not what was written.
        """
        if not len(rows):
            return np.empty((0, self.dimension), np.float32)
        self._take_over()
        stored, records = self._map(self._rows, VALUE, self.dimension), self._map(self._contents, RECORD)
        count = min(len(stored), len(records))
        if int(rows.max()) >= count:
            raise DamagedIndexError(
                f"{self._rows} holds {count} rows, row {int(rows.max())} is needed: run 'xmodal repair'"
            )
        taken, of = np.ascontiguousarray(stored[rows]), records[rows]
        wrong = (_sums(taken) != of["row"]) | ~_words(of["content"]).any(axis=1)
        if wrong.any():
            raise DamagedIndexError(
                f"{int(wrong.sum())} of {len(rows)} rows that are needed are not in {self._rows.parent} as they "
                f"were written, the first is row {int(rows[wrong.argmax()])}: run 'xmodal repair'"
            )
        return taken.astype(np.float32, copy=False)

    def damaged(self, least: int = 0) -> Integers:
        """(m,) int64 ascending: the rows that are missing or not what was written; every byte is read.

        Args:
            least: how many rows there ought to be. What a crash left behind the last whole row and this
                number is no damage: the next append goes over it.
        """
        expected = max(least, len(self))
        records, sound = self._read_records()
        rows = self._map(self._rows, VALUE, self.dimension)
        good = np.zeros(expected, bool)
        block = max(1, BLOCK_BYTES // self._row_bytes)
        for start in range(0, min(expected, len(records)), block):
            part = slice(start, min(start + block, expected, len(records)))
            good[part] = sound[part] & (_sums(np.ascontiguousarray(rows[part])) == records["row"][part])
        return np.flatnonzero(~good).astype(np.int64)

    def holds(self, rows: Integers, contents: Sequence[str]) -> NDArray[np.bool_]:
        """(n,) bool: whether each of these rows is recorded to be of that content."""
        records, sound = self._read_records()
        there = np.flatnonzero(rows < len(records))
        wanted = _words(np.frombuffer(bytes.fromhex("".join(contents)), "V32"))
        held = np.zeros(len(rows), bool)
        found = rows[there]
        held[there] = sound[found] & (_words(records["content"][found]) == wanted[there]).all(axis=1)
        return held

    def _put(self, numbers: Sequence[int], data: Matrix, records: Records) -> None:
        """Write rows and records to places of their own."""
        self._rows.parent.mkdir(parents=True, exist_ok=True)
        for path, values in ((self._rows, data), (self._contents, records)):
            places = [number * values[:1].nbytes for number in numbers]
            _write(path, zip(places, (value.tobytes() for value in values), strict=True))
        self._length = None

    def _read_records(self) -> tuple[Records, NDArray[np.bool_]]:
        """The records that have a row, and which of them are what was written."""
        self._take_over()
        records = self._map(self._contents, RECORD)[: _size(self._rows) // self._row_bytes]
        return records, _sums(_fields(records)) == records["record"]

    def _map(self, path: Path, kind: np.dtype[Any], columns: int | None = None) -> NDArray[Any]:
        """What is whole of a file of records or rows."""
        count = _size(path) // (kind.itemsize * (columns or 1))
        shape = (count,) if columns is None else (count, columns)
        return np.memmap(path, dtype=kind, mode="r", shape=shape) if count else np.empty(shape, kind)

    def _take_over(self) -> None:
        """Give what was written before there were checksums (format 1) those that it has now."""
        if self._contents.exists() or not self._former.exists():
            return
        former = np.dtype([("content", "V32"), ("following", "<u4"), ("start", "<f8"), ("end", "<f8")])
        rows = self._map(self._rows, VALUE, self.dimension)
        held = self._map(self._former, former)[: len(rows)]
        ends = np.flatnonzero(held["following"] == 0)
        held = held[: ends[-1] + 1] if len(ends) else held[:0]
        records = np.zeros(len(held), RECORD)
        for name in ("content", "following", "start", "end"):
            records[name] = held[name]
        starts = np.append(0, ends[:-1] + 1)
        records["at"] = np.arange(len(held)) - np.repeat(starts, np.diff(np.append(starts, len(held))))
        beside = self._contents.with_suffix(".new")
        _write(beside, [(0, _summed(records, rows[: len(held)]).tobytes())], cut=True)
        beside.replace(self._contents)
        self._former.unlink()


def first_rows(stored: Mapping[str, range], contents: Sequence[str]) -> Integers:
    """(n,) int64: the first row of each content, which is that of the whole medium."""
    return np.array([stored[content].start for content in contents], dtype=np.int64)


def _stored(contents: Sequence[str], spans: Sequence[Sequence[Span]], rows: Matrix) -> tuple[Matrix, Records]:
    """Rows and records as they stand in the files."""
    data = np.ascontiguousarray(rows, dtype=VALUE)
    return data, _recorded([bytes.fromhex(content) for content in contents], spans, data)


def _recorded(contents: Sequence[bytes], spans: Sequence[Sequence[Span]], data: Matrix) -> Records:
    records = np.array(
        [
            (
                content,
                at,
                len(parts) - at - 1,
                min(part.windows or 0, MOST_WINDOWS),
                _number(part.start),
                _number(part.end),
                0,
                0,
            )
            for content, parts in zip(contents, spans, strict=True)
            for at, part in enumerate(parts)
        ],
        dtype=RECORD,
    )
    return _summed(records, data)


def _summed(records: Records, rows: Matrix) -> Records:
    """The records with the checksums of their rows, and their own."""
    records["row"] = _sums(np.ascontiguousarray(rows))
    records["record"] = _sums(_fields(records))
    return records


def _fields(records: Records) -> NDArray[np.uint8]:
    """(n, 60) uint8: all of each record but its own checksum."""
    octets = np.ascontiguousarray(records).view(np.uint8).reshape(-1, RECORD.itemsize)
    return np.ascontiguousarray(octets[:, : RECORD.fields["record"][1]])  # type: ignore[index]


def _sums(rows: NDArray[np.generic]) -> NDArray[np.uint32]:
    """(n,) uint32: the CRC-32 of each row."""
    if not len(rows):
        return np.empty(0, np.uint32)
    octets = memoryview(rows.view(np.uint8).reshape(-1).data)
    width = len(octets) // len(rows)
    starts = range(0, len(octets), width)
    return np.fromiter((zlib.crc32(octets[at : at + width]) for at in starts), np.uint32, len(rows))


def _words(contents: NDArray[np.void]) -> NDArray[np.uint64]:
    """(n, 4) uint64: SHA-256 sums as numbers, which numpy compares."""
    return np.ascontiguousarray(contents).view(np.uint64).reshape(-1, 4)


def _number(seconds: float | None) -> float:
    return np.nan if seconds is None else seconds


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _write(path: Path, pieces: Iterable[tuple[int, bytes]], *, cut: bool = False) -> None:
    """Write pieces to their places and see that they are on the disk; with ``cut`` drop what is behind them."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        for at, data in pieces:
            file.seek(at)
            file.write(data)
        if cut:
            file.truncate()
        file.flush()
        os.fsync(file.fileno())
