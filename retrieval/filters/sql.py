"""A tree to a condition that SQLite evaluates, every name and value a bound parameter."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from sqlalchemy import ColumnElement, String, and_, cast, func, literal, not_, or_, select

from retrieval.errors import ExpressionError
from retrieval.filters.tree import And, Boolean, Expression, Glob, In, IsNull, Leaf, Like, Not, Text, Value

_OPERATORS = {"=": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}

_HOLDS = {"text": "texts", "integer": "whole numbers", "real": "numbers", "boolean": "true or false"}

_NAMES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Files:
    """Columns that an item has several values of, one of each of its files.

    Attributes:
        columns: of texts, by name.
        some: whether any of an item's files satisfies a condition on these.
    """

    columns: Mapping[str, ColumnElement[Any]]
    some: Callable[[ColumnElement[bool]], ColumnElement[bool]]


def condition(
    expression: Expression,
    metadata: ColumnElement[Any],
    columns: Mapping[str, str],
    files: Files | None = None,
) -> ColumnElement[bool]:
    """The expression as a condition on a column of JSON objects in SQLite.

    Null as in SQL: a key that is missing or null makes every comparison, ``in`` and ``like`` on it unknown,
    also ``!=`` and what ``not`` makes of them, and rows whose condition is unknown are not selected;
    ``is null`` alone finds them. Texts compare by code point; ``like`` ignores the case of ASCII letters, as
    SQLite does, ``glob`` does not. Values adapt to the column where that loses nothing: ``'7'`` on a column of
    numbers is 7, and 7 on a column of texts is ``'7'``.

    Args:
        expression: what :func:`~retrieval.filters.parse` returned.
        metadata: the SQL column, of JSON text.
        columns: every known key of the objects, and its kind: ``text`` (also mixed), ``integer``, ``real``
            or ``boolean``.
        files: further columns, of an item's files; hidden by keys of the same name.

    Raises:
        ExpressionError: a column that is not among ``columns``, or a value of another kind than its column's.
    """
    if isinstance(expression, Not):
        return not_(condition(expression.operand, metadata, columns, files))
    if isinstance(expression, Leaf):
        if files and expression.column in files.columns and expression.column not in columns:
            return files.some(_leaf(expression, files.columns[expression.column], "text"))
        check_column(expression.column, columns)
        held_as, kind = stored(metadata, expression.column), columns[expression.column]
        return _leaf(expression, held_as, kind)
    join = and_ if isinstance(expression, And) else or_
    return join(*(condition(operand, metadata, columns, files) for operand in expression.operands))


def check_column(name: str, columns: Mapping[str, str]) -> None:
    """Refuse a column that is not among ``columns``.

    Raises:
        ExpressionError: with the columns there are, and the one that may have been meant.
    """
    if name not in columns:
        raise ExpressionError(_unknown(name, columns))


def _leaf(leaf: Leaf, held_as: ColumnElement[Any], kind: str) -> ColumnElement[bool]:
    name = leaf.column
    if isinstance(leaf, IsNull):
        return held_as.is_(None)
    if isinstance(leaf, Like | Glob):
        if kind == "boolean":
            word = type(leaf).__name__.lower()
            raise ExpressionError(f"column {name!r} holds true or false: {word} needs texts or numbers")
        texts = cast(held_as, String)
        return texts.like(leaf.pattern) if isinstance(leaf, Like) else texts.bool_op("GLOB")(leaf.pattern)
    held = cast(held_as, String) if kind == "text" else held_as
    if isinstance(leaf, In):
        return held.in_([_adapted(value, name, kind) for value in leaf.values])
    result: ColumnElement[bool] = _OPERATORS[leaf.operator](held, literal(_adapted(leaf.value, name, kind)))
    return result


def stored(metadata: ColumnElement[Any], name: str) -> ColumnElement[Any]:
    """The value under a key; JSON's true and false come as 1 and 0."""
    if re.fullmatch(r"[ !#-\[\]-~]+", name):  # printable ASCII but for the quote and the backslash
        return func.json_extract(metadata, literal(f'$."{name}"'))
    # What a path says of escapes in its names, and of those in the object's, differs between versions.
    each = func.json_each(metadata).table_valued("key", "value")
    return select(each.c.value).where(each.c.key == literal(name)).limit(1).scalar_subquery()


def _adapted(value: Value, name: str, kind: str) -> str | int | float:
    """The value to compare a column of that kind with."""
    written = value.value if isinstance(value, Text) else str(value)
    if kind == "text":
        return written
    if kind == "boolean":
        if written.lower() in ("true", "false", "1", "0"):
            return int(written.lower() in ("true", "1"))
    elif not isinstance(value, Boolean) and re.fullmatch(
        r"-?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", written, re.I
    ):
        return _number(written)
    raise ExpressionError(f"column {name!r} holds {_HOLDS[kind]}: it cannot be compared with {value}")


def _number(written: str) -> int | float:
    approximate = float(written)
    whole = re.fullmatch("-?[0-9]+", written) and abs(approximate) < 2**63  # what SQLite holds exactly
    return int(Decimal(written)) if whole else approximate


def _unknown(name: str, columns: Mapping[str, str]) -> str:
    if not columns:
        return f"unknown column {name!r}: the items have no metadata"
    folded = {known.casefold(): known for known in columns}
    close = get_close_matches(name.casefold(), folded, n=1)
    hint = f"did you mean {folded[close[0]]!r}? " if close else ""
    known = sorted(columns)
    more = f" and {len(known) - _NAMES_SHOWN} more" if len(known) > _NAMES_SHOWN else ""
    return f"unknown column {name!r}: {hint}there are {', '.join(map(repr, known[:_NAMES_SHOWN]))}{more}"
