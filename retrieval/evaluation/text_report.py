"""An evaluation as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from retrieval.formatting import interval, number, one_line

BESIDE = frozenset({"intervals", "without_relevant", "slices", "compare"})
"""What of a task's entry is no figure of its own."""

NAMED = 5
"""Queries with nothing relevant that are named; there may be thousands."""


def lines(values: Mapping[str, Any]) -> list[str]:
    """The protocol in a line or two, then a table of the tasks, and one of each thing more that was asked."""
    shown = [*protocol(values["protocol"]), *table(_by_row(values["tasks"]), intervals=True)]
    for task, entry in values["tasks"].items():
        if names := entry["without_relevant"]:
            more = entry["queries_without_relevant"] - len(names[:NAMED])
            rest = f" and {more} more (--json names them)" if more else ""
            shown += ["", f"{task}: nothing is relevant to {', '.join(map(one_line, names[:NAMED]))}{rest}"]
        for column, slices in entry.get("slices", {}).items():
            shown += ["", f"{task} by {column}", *table(_by_row(slices))]
        if "compare" in entry:
            shown += ["", f"{task}, exact and served", *table(_by_row(entry["compare"]))]
    for task, tests in values.get("against", {}).get("tasks", {}).items():
        pool = "the same pool" if tests["same_pool"] else "pools that differ"
        shown += ["", f"{task}, first index less second, {pool}", *_tests(tests["measures"])]
    return shown


def protocol(stamp: Mapping[str, Any]) -> list[str]:
    """What the figures depend on, as far as fits a terminal; ``--json`` and ``--report`` have all of it."""
    where = f" where {one_line(stamp['where'])}" if stamp["where"] else ""
    items = f", items by {stamp['items']['fusion']}, {stamp['items']['rule']}" if stamp["items"] else ""
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


def table(rows: Mapping[str, Mapping[str, Any]], *, intervals: bool = False) -> list[str]:
    """Rows of figures under the columns' names, aligned.

    Args:
        rows: by the row's name, the cell of each column: a figure, or with its interval a tuple.
        intervals: whether to show those.
    """
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = [["", *map(one_line, columns)]]
    for name, row in rows.items():
        shown = [row.get(column, (None, None)) for column in columns]
        cells.append(
            [name]
            + [f"{number(value)} {interval(ends) if intervals else ''}".rstrip() for value, ends in shown]
        )
    return _aligned(cells)


def _by_row(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Entries of figures, each a column, turned into rows."""
    rows: dict[str, dict[str, Any]] = {}
    for column, entry in entries.items():
        for name, value in entry.items():
            if name not in BESIDE:
                rows.setdefault(name, {})[column] = (value, entry.get("intervals", {}).get(name))
    return rows


def _tests(measures: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
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
    return [_line(row, widths) for row in cells]


def _line(row: Iterable[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.rjust(width) if at else cell.ljust(width)
        for at, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()
