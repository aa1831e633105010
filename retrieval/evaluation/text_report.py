"""An evaluation as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from retrieval.formatting import interval, number, one_line

NOT_FIGURES = frozenset({"intervals", "without_relevant", "slices", "compare"})
"""Keys of a task's entry that are not figures."""

MAX_NAMED = 5
"""Queries without relevant assets that are listed by name; there may be thousands."""


def report_lines(values: Mapping[str, Any]) -> list[str]:
    """Return the protocol in two lines, a table of the tasks, and a table for each further result."""
    shown = [
        *protocol_lines(values["protocol"]),
        *table_lines(_by_measure(values["tasks"]), intervals=True),
    ]
    for task, entry in values["tasks"].items():
        if names := entry["without_relevant"]:
            more = entry["queries_without_relevant"] - len(names[:MAX_NAMED])
            rest = f" and {more} more (listed with --json)" if more else ""
            listed = ", ".join(map(one_line, names[:MAX_NAMED]))
            shown += ["", f"{task}: queries without relevant assets: {listed}{rest}"]
        for column, slices in entry.get("slices", {}).items():
            shown += ["", f"{task} by {column}", *table_lines(_by_measure(slices))]
        if "compare" in entry:
            shown += ["", f"{task}, exact and served search", *table_lines(_by_measure(entry["compare"]))]
    for task, tests in values.get("against", {}).get("tasks", {}).items():
        pool = "same pool" if tests["same_pool"] else "different pools"
        shown += ["", f"{task}, first index minus second, {pool}", *_test_lines(tests["measures"])]
    return shown


def protocol_lines(stamp: Mapping[str, Any]) -> list[str]:
    """Return the main settings behind the figures; ``--json`` and ``--report`` contain all of them."""
    where = f" where {one_line(stamp['where'])}" if stamp["where"] else ""
    items = f", items fused by {stamp['items']['fusion']}: {stamp['items']['rule']}" if stamp["items"] else ""
    hubness = "" if stamp["hubness"] == "none" else f", scores corrected by {stamp['hubness']}"
    intervals = stamp["intervals"]
    index = stamp["index"]
    return [
        f"split {stamp['split']}, pool {stamp['pool']}{where}, relevance {one_line(stamp['relevance'])}, "
        f"captions {stamp['captions']}, ties by {stamp['ties']}, "
        f"{'exact' if stamp['exact'] else 'approximate'} search{hubness}{items}",
        f"index {index['alignment'][:12]} ({index['alignment_method']}), holdout {stamp['holdout']}, "
        f"seed {stamp['seed']}, xmodal {stamp['version']}; intervals: {intervals['confidence']:.0%}, "
        f"{intervals['resamples']:,} resamples of the queries",
    ]


def table_lines(rows: Mapping[str, Mapping[str, Any]], *, intervals: bool = False) -> list[str]:
    """Return an aligned table with a header line.

    Args:
        rows: by row name, a ``(figure, interval)`` for each column name.
        intervals: whether to show the intervals.
    """
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = [["", *map(one_line, columns)]]
    for name, row in rows.items():
        values = [row.get(column, (None, None)) for column in columns]
        cells.append(
            [name]
            + [f"{number(value)} {interval(ends) if intervals else ''}".rstrip() for value, ends in values]
        )
    return _aligned(cells)


def _by_measure(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Transpose entries of figures: each entry becomes a column, each measure a row."""
    rows: dict[str, dict[str, Any]] = {}
    for column, entry in entries.items():
        for name, value in entry.items():
            if name not in NOT_FIGURES:
                rows.setdefault(name, {})[column] = (value, entry.get("intervals", {}).get(name))
    return rows


def _test_lines(measures: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    cells = [["", "difference", "interval", "p", "queries"]]
    cells += [
        [name, f"{test['difference']:+.3f}", interval(test["interval"]), number(test["p_value"]),
         str(test["queries"])]
        for name, test in measures.items()
        if test is not None
    ]  # fmt: skip
    return _aligned(cells)


def _aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [_aligned_row(row, widths) for row in cells]


def _aligned_row(row: Iterable[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()
