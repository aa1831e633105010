"""What an expression says, as small frozen values; ``str`` of each parses back to an equal one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

KEYWORDS = frozenset({"and", "or", "not", "in", "like", "glob", "is", "null", "true", "false"})


@dataclass(frozen=True, slots=True)
class Text:
    """A text, in single quotes."""

    value: str

    def __str__(self) -> str:
        return "'" + self.value.replace("'", "''") + "'"


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it was written, because in a column of texts ``007`` and ``7`` are two things."""

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
    """``column operator value``, where operator is one of ``= != < <= > >=``."""

    column: str
    operator: str
    value: Value

    def __str__(self) -> str:
        return f"{_name(self.column)} {self.operator} {self.value}"


@dataclass(frozen=True, slots=True)
class In:
    """``column in (value, ...)``."""

    column: str
    values: tuple[Value, ...]

    def __str__(self) -> str:
        return f"{_name(self.column)} in ({', '.join(map(str, self.values))})"


@dataclass(frozen=True, slots=True)
class Like:
    """``column like 'pattern'``: ``%`` stands for any characters, ``_`` for one."""

    column: str
    pattern: str

    def __str__(self) -> str:
        return f"{_name(self.column)} like {Text(self.pattern)}"


@dataclass(frozen=True, slots=True)
class Glob:
    """``column glob 'pattern'``: ``*`` stands for any characters, ``?`` for one, ``[a-z]`` for one of these."""

    column: str
    pattern: str

    def __str__(self) -> str:
        return f"{_name(self.column)} glob {Text(self.pattern)}"


@dataclass(frozen=True, slots=True)
class IsNull:
    """``column is null``: the item has no such column, or nothing in it."""

    column: str

    def __str__(self) -> str:
        return f"{_name(self.column)} is null"


@dataclass(frozen=True, slots=True)
class Not:
    """``not (operand)``; ``is not null``, ``not in`` and ``not like`` are this as well."""

    operand: Expression

    def __str__(self) -> str:
        return f"not {_bracketed(self.operand)}"


@dataclass(frozen=True, slots=True)
class And:
    """Two or more operands that must all hold."""

    operands: tuple[Expression, ...]

    def __str__(self) -> str:
        return " and ".join(map(_bracketed, self.operands))


@dataclass(frozen=True, slots=True)
class Or:
    """Two or more operands of which one must hold."""

    operands: tuple[Expression, ...]

    def __str__(self) -> str:
        return " or ".join(map(_bracketed, self.operands))


Leaf: TypeAlias = Comparison | In | Like | Glob | IsNull
"""What reads one column."""

Expression: TypeAlias = Leaf | Not | And | Or


def walk(expression: Expression) -> Iterator[tuple[Expression, int]]:
    """Every node with its depth (0 for the whole), without recursion."""
    waiting = [(expression, 0)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        if isinstance(node, And | Or):
            waiting.extend((operand, depth + 1) for operand in node.operands)
        elif isinstance(node, Not):
            waiting.append((node.operand, depth + 1))


def columns(expression: Expression) -> set[str]:
    """The names of the columns that the expression reads."""
    return {node.column for node, _ in walk(expression) if isinstance(node, Leaf)}


def _name(column: str) -> str:
    if re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", column) and column.lower() not in KEYWORDS:
        return column
    return '"' + column.replace('"', '""') + '"'


def _bracketed(operand: Expression) -> str:
    return f"({operand})" if isinstance(operand, And | Or) else str(operand)
