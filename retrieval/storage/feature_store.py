"""Storage of encoder outputs, so that nothing is encoded twice and a new alignment needs no encoding."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.arrays.lazy import row_numbers
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
"""Record of a feature row: SHA-256 of its content, position among the content's rows, number of rows that follow, the
windows it was read in (0 for None) and its span (NaN for the whole); then the CRC-32 of the row, and the CRC-32 of all
fields before. Without windows, the bytes equal those of older records, where ``following`` had 4 bytes."""

MAX_WINDOWS = np.iinfo(np.uint16).max
"""Largest number of windows that a record can hold; longer texts (all of Proust) are recorded with this number."""

UNUSED = bytes(32)
"""Content of an unused row."""

BLOCK_BYTES = 1 << 24
"""Bytes of rows that are checked at once."""

_NUMERICS = ".numerics"

Records = NDArray[np.void]


class FeatureStore:
    """Output of one encoder by content: two append-only files, one of feature rows and one of their records.

    A content has one row or, if it is long, several consecutive rows. A written row is never changed or moved, so every
    generation refers to it by number. Rows are written and synced before their records. So after any crash, contents
    with all their records have all their rows, and the next append overwrites the rest.

    Each record and each row has a checksum, so that damage is known row by row and only damaged rows must be encoded
    again. It is the CRC-32 of zlib: it detects every single flipped bit and every damaged run of up to 32 bits, misses
    one in four billion other errors, and takes hardly any time at this size.
    """

    def __init__(self, folder: Path, dimension: int) -> None:
        self._rows, self._contents = folder / "rows.f32", folder / "contents.bin"
        self._format_1 = folder / "records.bin"
        self._row_bytes = dimension * VALUE.itemsize
        self.dimension = dimension
        self._length: int | None = None

    def __getitem__(self, rows: slice | Integers) -> Matrix:
        """See ``read``."""
        return self.read(row_numbers(rows, len(self)))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows, up to the last content with all its rows, and number of columns."""
        return len(self), self.dimension

    def __len__(self) -> int:
        """Number of rows, up to the last content with all its rows."""
        if self._length is None:
            records, intact = self._read_records()
            last = np.flatnonzero(intact & (records["following"] == 0))
            self._length = int(last[-1]) + 1 if len(last) else 0
        return self._length

    @property
    def files(self) -> list[Path]:
        """All files of the store, the rows first."""
        return [self._rows, self._contents, *self._rows.parent.glob(f"*{_NUMERICS}")]

    def append(self, contents: Sequence[str], spans: Sequence[Sequence[Span]], rows: Matrix) -> None:
        """Append the features of new contents.

        Args:
            contents: their SHA-256 hashes, in hex.
            spans: for each content, the span of each of its rows.
            rows: (n, dimension) float32, in the order of the contents.
        """
        first = len(self)
        data, records = _stored(contents, spans, rows)
        self._rows.parent.mkdir(parents=True, exist_ok=True)
        _write(self._rows, [(first * self._row_bytes, data.tobytes())], truncate=True)
        _write(self._contents, [(first * RECORD.itemsize, records.tobytes())], truncate=True)
        self._length = first + len(records)

    def replace(
        self,
        row_ranges: Sequence[range],
        contents: Sequence[str],
        spans: Sequence[Sequence[Span]],
        rows: Matrix,
    ) -> None:
        """Write the features of contents to the rows where they were before they were damaged.

        Args:
            row_ranges: for each content its row numbers, one for each span.
            contents: their SHA-256 hashes, in hex.
            spans: for each content, the span of each of its rows.
            rows: (n, dimension) float32, in the order of the contents.
        """
        data, records = _stored(contents, spans, rows)
        numbers = [number for row_range in row_ranges for number in row_range]
        self._put(numbers, data, records)

    def mark_unused(self, rows: Sequence[int]) -> None:
        """Mark these rows unused; their content will be encoded again."""
        data = np.zeros((len(rows), self.dimension), VALUE)
        self._put(rows, data, _recorded([UNUSED] * len(rows), [[Span()]] * len(rows), data))

    def contents(self) -> dict[str, range]:
        """Return the row numbers of each content whose records are complete and intact."""
        records, intact = self._read_records()
        if not len(records):
            return {}
        at, following, words = records["at"], records["following"], _words(records["content"])
        continues = np.zeros(len(records), bool)  # the content of the row before
        continues[1:] = (
            intact[1:] & intact[:-1] & (at[1:] == at[:-1] + 1) & (following[:-1] == following[1:] + 1)
        )
        continues[1:] &= (words[1:] == words[:-1]).all(axis=1)
        starts = np.flatnonzero(~continues)
        ends = np.append(starts[1:], len(records))
        complete = (
            intact[starts] & (at[starts] == 0) & (ends - starts == following[starts].astype(np.int64) + 1)
        )
        complete &= words[starts].any(axis=1)
        return {
            records["content"][start].tobytes().hex(): range(start, end)
            for start, end in zip(starts[complete].tolist(), ends[complete].tolist(), strict=True)
        }

    def spans(self, rows: range) -> list[Span]:
        """Return the span of the medium that each of these rows describes."""
        records = self._map(self._contents, RECORD)[rows.start : rows.stop]
        columns = (records[name].tolist() for name in ("start", "end", "windows"))
        return [
            Span(None if isnan(start) else start, None if isnan(end) else end, windows or None)
            for start, end, windows in zip(*columns, strict=True)
        ]

    @property
    def numerics(self) -> list[str]:
        """What the rows were computed with, as in ``Encoder.numerics``."""
        return sorted(file.stem for file in self._rows.parent.glob(f"*{_NUMERICS}"))

    def add_numerics(self, numerics: str) -> None:
        """Record what further rows will be computed with."""
        # As the name of an empty file: it has no content that could be damaged.
        self._rows.parent.mkdir(parents=True, exist_ok=True)
        self._rows.with_name(numerics + _NUMERICS).touch()

    def read(self, rows: Integers) -> Matrix:
        """Return (n, dimension) float32: the rows with these numbers, in this order.

        Raises:
            DamagedIndexError: a row is missing, unused or does not match its checksum.
        """
        if not len(rows):
            return np.empty((0, self.dimension), np.float32)
        self._convert_format_1()
        stored, records = self._map(self._rows, VALUE, self.dimension), self._map(self._contents, RECORD)
        count = min(len(stored), len(records))
        if int(rows.max()) >= count:
            raise DamagedIndexError(
                f"{self._rows} holds {count} rows, row {int(rows.max())} is needed: run 'xmodal repair'"
            )
        selected, their_records = np.ascontiguousarray(stored[rows]), records[rows]
        is_bad = _checksums(selected) != their_records["row"]
        is_bad |= ~_words(their_records["content"]).any(axis=1)
        if is_bad.any():
            raise DamagedIndexError(
                f"{int(is_bad.sum())} of {len(rows)} requested rows in {self._rows.parent} are damaged or unused, "
                f"the first is row {int(rows[is_bad.argmax()])}: run 'xmodal repair'"
            )
        return selected.astype(np.float32, copy=False)

    def damaged(self, expected: int = 0) -> Integers:
        """Return (m,) int64, ascending: the rows that are missing or do not match their checksum; reads every byte.

        Args:
            expected: number of rows that should exist. Remains of a crash after this number and after the last
                complete content are not damage: the next append overwrites them.
        """
        expected = max(expected, len(self))
        records, intact = self._read_records()
        rows = self._map(self._rows, VALUE, self.dimension)
        is_good = np.zeros(expected, bool)
        block = max(1, BLOCK_BYTES // self._row_bytes)
        for start in range(0, min(expected, len(records)), block):
            part = slice(start, min(start + block, expected, len(records)))
            is_good[part] = intact[part] & (
                _checksums(np.ascontiguousarray(rows[part])) == records["row"][part]
            )
        return np.flatnonzero(~is_good).astype(np.int64)

    def holds(self, rows: Integers, contents: Sequence[str]) -> NDArray[np.bool_]:
        """Return (n,) bool: whether the record of each row names the given content."""
        records, intact = self._read_records()
        existing = np.flatnonzero(rows < len(records))
        expected = _words(np.frombuffer(bytes.fromhex("".join(contents)), "V32"))
        matches = np.zeros(len(rows), bool)
        numbers = rows[existing]
        matches[existing] = intact[numbers]
        matches[existing] &= (_words(records["content"][numbers]) == expected[existing]).all(axis=1)
        return matches

    def _put(self, numbers: Sequence[int], data: Matrix, records: Records) -> None:
        """Write rows and records to the given row numbers."""
        self._rows.parent.mkdir(parents=True, exist_ok=True)
        for path, values in ((self._rows, data), (self._contents, records)):
            offsets = [number * values[:1].nbytes for number in numbers]
            _write(path, zip(offsets, (value.tobytes() for value in values), strict=True))
        self._length = None

    def _read_records(self) -> tuple[Records, NDArray[np.bool_]]:
        """Return the records that have a row, and which of them match their checksum."""
        self._convert_format_1()
        records = self._map(self._contents, RECORD)[: _size(self._rows) // self._row_bytes]
        return records, _checksums(_fields(records)) == records["record"]

    def _map(self, path: Path, kind: np.dtype[Any], columns: int | None = None) -> NDArray[Any]:
        """Map the complete records or rows of a file."""
        count = _size(path) // (kind.itemsize * (columns or 1))
        shape = (count,) if columns is None else (count, columns)
        return np.memmap(path, dtype=kind, mode="r", shape=shape) if count else np.empty(shape, kind)

    def _convert_format_1(self) -> None:
        """Add checksums to a store of format 1, which had none."""
        if self._contents.exists() or not self._format_1.exists():
            return
        old_record = np.dtype([("content", "V32"), ("following", "<u4"), ("start", "<f8"), ("end", "<f8")])
        rows = self._map(self._rows, VALUE, self.dimension)
        stored = self._map(self._format_1, old_record)[: len(rows)]
        ends = np.flatnonzero(stored["following"] == 0)
        stored = stored[: ends[-1] + 1] if len(ends) else stored[:0]
        records = np.zeros(len(stored), RECORD)
        for name in ("content", "following", "start", "end"):
            records[name] = stored[name]
        starts = np.append(0, ends[:-1] + 1)
        records["at"] = np.arange(len(stored)) - np.repeat(starts, np.diff(np.append(starts, len(stored))))
        beside = self._contents.with_suffix(".new")
        _write(beside, [(0, _with_checksums(records, rows[: len(stored)]).tobytes())], truncate=True)
        beside.replace(self._contents)
        self._format_1.unlink()


def first_rows(stored: Mapping[str, range], contents: Sequence[str]) -> Integers:
    """Return (n,) int64: the first row of each content, which describes the whole medium."""
    return np.array([stored[content].start for content in contents], dtype=np.int64)


def _stored(contents: Sequence[str], spans: Sequence[Sequence[Span]], rows: Matrix) -> tuple[Matrix, Records]:
    """Return rows and records as they are written to the files."""
    data = np.ascontiguousarray(rows, dtype=VALUE)
    return data, _recorded([bytes.fromhex(content) for content in contents], spans, data)


def _recorded(contents: Sequence[bytes], spans: Sequence[Sequence[Span]], data: Matrix) -> Records:
    records = np.array(
        [
            (
                content,
                at,
                len(parts) - at - 1,
                min(part.windows or 0, MAX_WINDOWS),
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
    return _with_checksums(records, data)


def _with_checksums(records: Records, rows: Matrix) -> Records:
    """Set the checksums of the rows and of the records."""
    records["row"] = _checksums(np.ascontiguousarray(rows))
    records["record"] = _checksums(_fields(records))
    return records


def _fields(records: Records) -> NDArray[np.uint8]:
    """Return (n, 60) uint8: each record without its own checksum."""
    octets = np.ascontiguousarray(records).view(np.uint8).reshape(-1, RECORD.itemsize)
    return np.ascontiguousarray(octets[:, : RECORD.fields["record"][1]])  # type: ignore[index]


def _checksums(rows: NDArray[np.generic]) -> NDArray[np.uint32]:
    """Return (n,) uint32: the CRC-32 of each row."""
    if not len(rows):
        return np.empty(0, np.uint32)
    octets = memoryview(rows.view(np.uint8).reshape(-1).data)
    width = len(octets) // len(rows)
    starts = range(0, len(octets), width)
    return np.fromiter((zlib.crc32(octets[at : at + width]) for at in starts), np.uint32, len(rows))


def _words(contents: NDArray[np.void]) -> NDArray[np.uint64]:
    """Return SHA-256 hashes as (n, 4) uint64, which NumPy can compare."""
    return np.ascontiguousarray(contents).view(np.uint64).reshape(-1, 4)


def _number(seconds: float | None) -> float:
    return np.nan if seconds is None else seconds


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _write(path: Path, pieces: Iterable[tuple[int, bytes]], *, truncate: bool = False) -> None:
    """Write pieces at their offsets and sync them to disk; ``truncate`` removes everything after them."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        for at, data in pieces:
            file.seek(at)
            file.write(data)
        if truncate:
            file.truncate()
        file.flush()
        os.fsync(file.fileno())
