"""Manifests: tables with one row per item, as CSV, TSV, JSONL or Parquet."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from retrieval.errors import SourceError
from retrieval.formatting import single_spaced
from retrieval.types import MetadataValue

Row = Mapping[str, object]

RESERVED = frozenset({"id", "image", "audio", "video", "caption"})
"""Columns with a fixed meaning; all others are metadata."""

INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")
REAL = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?")


def read(path: Path) -> list[Row]:
    """Return the rows of the manifest ``path``.

    Raises:
        SourceError: the file's kind is unknown, the file cannot be parsed, or a row has no id.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise SourceError(
            f"the source {str(path)!r} is neither a folder nor a manifest: expected {', '.join(READERS)}"
        )
    try:
        rows = reader(path)
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise SourceError(
            f"the manifest {str(path)!r} cannot be read: {single_spaced(str(error))}"
        ) from error
    for number, row in enumerate(rows, start=1):
        if not str(row.get("id") if row.get("id") is not None else "").strip():
            raise SourceError(
                f"row {number} of {str(path)!r} has no id: every row needs one in the column 'id' "
                f"(columns here: {', '.join(map(str, row))})"
            )
        if any(isinstance(cell, str) and not _is_unicode(cell) for cell in _cells(row)):
            raise SourceError(
                f"row {number} of {str(path)!r} holds half a character (a lone surrogate): correct it"
            )
    return rows


def _cells(row: Row) -> Iterator[object]:
    for cell in row.values():
        yield from cell if isinstance(cell, list) else [cell]


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def captions(value: object) -> list[str]:
    """Return the captions in a cell: a string or, in JSONL and Parquet, also a list of strings."""
    values = value if isinstance(value, list) else [value]
    return [str(caption).strip() for caption in values if caption is not None and str(caption).strip()]


def metadata(rows: Sequence[Row]) -> tuple[dict[str, dict[str, MetadataValue]], dict[str, str]]:
    """Return the metadata of each item, and the kind of each column.

    A column of text cells is numeric if every value in it is written as a number, so that ``year > 2000``
    compares numbers. Codes such as ``007`` stay text.

    Returns:
        Values by id and column, and ``"text"``, ``"integer"``, ``"real"`` or ``"boolean"`` by column.
    """
    names = dict.fromkeys(str(name) for row in rows for name in row if name not in RESERVED)
    values: dict[str, dict[str, MetadataValue]] = {}
    kinds: dict[str, str] = {}
    for name in names:
        cells = [(str(row["id"]), row[name]) for row in rows if not _missing(row.get(name))]
        kinds[name] = _kind([cell for _, cell in cells])
        convert = CONVERT[kinds[name]]
        for key, cell in cells:
            values.setdefault(key, {}).setdefault(name, convert(cell))
    return values, kinds


def _missing(cell: object) -> bool:
    return cell is None or cell == "" or (isinstance(cell, float) and not math.isfinite(cell))


def _kind(cells: Sequence[object]) -> str:
    if cells and all(isinstance(cell, bool) for cell in cells):
        return "boolean"
    if cells and all(_reads_as(cell, int, INTEGER) for cell in cells):
        return "integer"
    if cells and all(_reads_as(cell, (int, float), REAL) for cell in cells):
        return "real"
    return "text"


def _reads_as(cell: object, types: type | tuple[type, ...], pattern: re.Pattern[str]) -> bool:
    if isinstance(cell, str):
        return pattern.fullmatch(cell.strip()) is not None
    return isinstance(cell, types) and not isinstance(cell, bool)


def _text(cell: object) -> str:
    return cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False, default=str)


CONVERT: Mapping[str, Callable[[object], MetadataValue]] = {
    "boolean": bool,
    "integer": lambda cell: int(str(cell)),
    "real": lambda cell: float(str(cell)),
    "text": _text,
}


def _delimited(delimiter: str) -> Callable[[Path], list[Row]]:
    def read_rows(path: Path) -> list[Row]:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter, strict=True)
            names = [name.strip() for name in reader.fieldnames or []]
            if len(set(names)) < len(names):
                raise ValueError(
                    f"a column name appears twice ({', '.join(names)}): give every column its own name"
                )
            if "id" not in names:
                raise ValueError(
                    f"there is no column 'id' among {names}: expected a header, and {delimiter!r} between columns"
                )
            reader.fieldnames = names
            rows: list[Row] = []
            for row in reader:
                if None in row or None in row.values():
                    raise ValueError(
                        f"line {reader.line_num} has a different number of columns than the header "
                        f"({', '.join(reader.fieldnames or [])})"
                    )
                rows.append(row)
            return rows

    return read_rows


def _json_lines(path: Path) -> list[Row]:
    rows: list[Row] = []
    # Not splitlines: JSON strings may contain other line separators, such as U+2028.
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is not a JSON object")  # noqa: TRY004 - malformed, not a wrong call
        rows.append(row)
    return rows


def _parquet(path: Path) -> list[Row]:
    import pyarrow.parquet as pq

    rows: list[Row] = pq.read_table(path).to_pylist()
    return rows


READERS: Mapping[str, Callable[[Path], list[Row]]] = {
    ".csv": _delimited(","),
    ".tsv": _delimited("\t"),
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
