"""Converting a tree to an SQLite condition; every name and value is a bound parameter."""

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

_KIND_NAMES = {"text": "texts", "integer": "whole numbers", "real": "numbers", "boolean": "true or false"}

_MAX_NAMES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Files:
    """Columns that have one value for each file of an item.

    Attributes:
        columns: text columns, by name.
        some: makes a condition true if any file of an item satisfies the given condition on these columns.
    """

    columns: Mapping[str, ColumnElement[Any]]
    some: Callable[[ColumnElement[bool]], ColumnElement[bool]]


def condition(
    expression: Expression,
    metadata: ColumnElement[Any],
    columns: Mapping[str, str],
    files: Files | None = None,
) -> ColumnElement[bool]:
    """Convert an expression to a condition on a column of JSON objects in SQLite.

    Null behaves as in SQL: a missing or null key makes every comparison, ``in`` and ``like`` on it unknown, also
    ``!=`` and negations. Rows whose condition is unknown are not selected; only ``is null`` selects them. Texts
    compare by code point; ``like`` ignores the case of ASCII letters, as in SQLite, ``glob`` does not. Values are
    converted to the kind of the column where that loses nothing: ``'7'`` for a number column is 7, and 7 for a
    text column is ``'7'``.

    Args:
        expression: result of :func:`~retrieval.filters.parse`.
        metadata: the SQL column of JSON texts.
        columns: every known key of the objects, and its kind: ``text`` (also mixed), ``integer``, ``real``
            or ``boolean``.
        files: further columns, of an item's files; metadata keys of the same name hide them.

    Raises:
        ExpressionError: a column is unknown, or a value does not fit the kind of its column.
    """
    if isinstance(expression, Not):
        return not_(condition(expression.operand, metadata, columns, files))
    if isinstance(expression, Leaf):
        if files and expression.column in files.columns and expression.column not in columns:
            return files.some(_leaf(expression, files.columns[expression.column], "text"))
        check_column(expression.column, columns)
        value, kind = stored(metadata, expression.column), columns[expression.column]
        return _leaf(expression, value, kind)
    join = and_ if isinstance(expression, And) else or_
    return join(*(condition(operand, metadata, columns, files) for operand in expression.operands))


def check_column(name: str, columns: Mapping[str, str]) -> None:
    """Check that a column is one of ``columns``.

    Raises:
        ExpressionError: it is not; the message lists the columns and suggests a similar one.
    """
    if name not in columns:
        raise ExpressionError(_unknown(name, columns))


def _leaf(leaf: Leaf, stored_value: ColumnElement[Any], kind: str) -> ColumnElement[bool]:
    name = leaf.column
    if isinstance(leaf, IsNull):
        return stored_value.is_(None)
    if isinstance(leaf, Like | Glob):
        if kind == "boolean":
            word = type(leaf).__name__.lower()
            raise ExpressionError(f"column {name!r} holds true or false: {word} needs texts or numbers")
        texts = cast(stored_value, String)
        return texts.like(leaf.pattern) if isinstance(leaf, Like) else texts.bool_op("GLOB")(leaf.pattern)
    operand = cast(stored_value, String) if kind == "text" else stored_value
    if isinstance(leaf, In):
        return operand.in_([_converted(value, name, kind) for value in leaf.values])
    result: ColumnElement[bool] = _OPERATORS[leaf.operator](
        operand, literal(_converted(leaf.value, name, kind))
    )
    return result


def stored(metadata: ColumnElement[Any], name: str) -> ColumnElement[Any]:
    """Return the SQL expression of the value under a key; JSON true and false are 1 and 0."""
    if re.fullmatch(r"[ !#-\[\]-~]+", name):  # printable ASCII without the quote and the backslash
        return func.json_extract(metadata, literal(f'$."{name}"'))
    # Versions of SQLite differ in how they treat escapes in paths and in object keys.
    each = func.json_each(metadata).table_valued("key", "value")
    return select(each.c.value).where(each.c.key == literal(name)).limit(1).scalar_subquery()


def _converted(value: Value, name: str, kind: str) -> str | int | float:
    """Convert a value to the kind of its column."""
    spelling = value.value if isinstance(value, Text) else str(value)
    if kind == "text":
        return spelling
    if kind == "boolean":
        if spelling.lower() in ("true", "false", "1", "0"):
            return int(spelling.lower() in ("true", "1"))
    elif not isinstance(value, Boolean) and re.fullmatch(
        r"-?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", spelling, re.I
    ):
        return _number(spelling)
    raise ExpressionError(f"column {name!r} holds {_KIND_NAMES[kind]}: it cannot be compared with {value}")


def _number(spelling: str) -> int | float:
    approximate = float(spelling)
    whole = (
        re.fullmatch("-?[0-9]+", spelling) and abs(approximate) < 2**63
    )  # integers that SQLite stores exactly
    return int(Decimal(spelling)) if whole else approximate


def _unknown(name: str, columns: Mapping[str, str]) -> str:
    if not columns:
        return f"unknown column {name!r}: the items have no metadata"
    folded = {known.casefold(): known for known in columns}
    close = get_close_matches(name.casefold(), folded, n=1)
    hint = f"did you mean {folded[close[0]]!r}? " if close else ""
    known = sorted(columns)
    more = f" and {len(known) - _MAX_NAMES_SHOWN} more" if len(known) > _MAX_NAMES_SHOWN else ""
    return f"unknown column {name!r}: {hint}there are {', '.join(map(repr, known[:_MAX_NAMES_SHOWN]))}{more}"
