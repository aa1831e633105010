"""Nodes of a parsed expression, as small frozen values; parsing the ``str`` of one gives an equal node."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

KEYWORDS = frozenset({"and", "or", "not", "in", "like", "glob", "is", "null", "true", "false"})


@dataclass(frozen=True, slots=True)
class Text:
    """A text value, written in single quotes."""

    value: str

    def __str__(self) -> str:
        return "'" + self.value.replace("'", "''") + "'"


@dataclass(frozen=True, slots=True)
class Number:
    """A number as spelled, because ``007`` and ``7`` differ in a text column."""

    spelling: str

    def __str__(self) -> str:
        return self.spelling


@dataclass(frozen=True, slots=True)
class Boolean:
    """``true`` or ``false``."""

    value: bool

    def __str__(self) -> str:
        return str(self.value).lower()


Value: TypeAlias = Text | Number | Boolean


@dataclass(frozen=True, slots=True)
class Comparison:
    """``column operator value``; the operator is one of ``= != < <= > >=``."""

    column: str
    operator: str
    value: Value

    def __str__(self) -> str:
        return f"{_quoted_name(self.column)} {self.operator} {self.value}"


@dataclass(frozen=True, slots=True)
class In:
    """``column in (value, ...)``."""

    column: str
    values: tuple[Value, ...]

    def __str__(self) -> str:
        return f"{_quoted_name(self.column)} in ({', '.join(map(str, self.values))})"


@dataclass(frozen=True, slots=True)
class Like:
    """``column like 'pattern'``: ``%`` matches any characters, ``_`` exactly one."""

    column: str
    pattern: str

    def __str__(self) -> str:
        return f"{_quoted_name(self.column)} like {Text(self.pattern)}"


@dataclass(frozen=True, slots=True)
class Glob:
    """``column glob 'pattern'``: ``*`` matches any characters, ``?`` exactly one, ``[a-z]`` one of these."""

    column: str
    pattern: str

    def __str__(self) -> str:
        return f"{_quoted_name(self.column)} glob {Text(self.pattern)}"


@dataclass(frozen=True, slots=True)
class IsNull:
    """``column is null``: the item has no value in this column."""

    column: str

    def __str__(self) -> str:
        return f"{_quoted_name(self.column)} is null"


@dataclass(frozen=True, slots=True)
class Not:
    """``not (operand)``; ``is not null``, ``not in`` and ``not like`` are also parsed to this."""

    operand: Expression

    def __str__(self) -> str:
        return f"not {_bracketed(self.operand)}"


@dataclass(frozen=True, slots=True)
class And:
    """Two or more operands, all of which must be true."""

    operands: tuple[Expression, ...]

    def __str__(self) -> str:
        return " and ".join(map(_bracketed, self.operands))


@dataclass(frozen=True, slots=True)
class Or:
    """Two or more operands, one of which must be true."""

    operands: tuple[Expression, ...]

    def __str__(self) -> str:
        return " or ".join(map(_bracketed, self.operands))


Leaf: TypeAlias = Comparison | In | Like | Glob | IsNull
"""A condition on one column."""

Expression: TypeAlias = Leaf | Not | And | Or


def walk(expression: Expression) -> Iterator[tuple[Expression, int]]:
    """Yield every node with its depth (0 for the root), without recursion."""
    pending = [(expression, 0)]
    while pending:
        node, depth = pending.pop()
        yield node, depth
        if isinstance(node, And | Or):
            pending.extend((operand, depth + 1) for operand in node.operands)
        elif isinstance(node, Not):
            pending.append((node.operand, depth + 1))


def columns(expression: Expression) -> set[str]:
    """Return the names of all columns in the expression."""
    return {node.column for node, _ in walk(expression) if isinstance(node, Leaf)}


def _quoted_name(column: str) -> str:
    if re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", column) and column.lower() not in KEYWORDS:
        return column
    return '"' + column.replace('"', '""') + '"'


def _bracketed(operand: Expression) -> str:
    return f"({operand})" if isinstance(operand, And | Or) else str(operand)
