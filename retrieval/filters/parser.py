"""Parsing text to a tree by a grammar, with one-line error messages."""

from __future__ import annotations

from functools import cache
from typing import Any

from lark import Lark, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedInput

from retrieval.errors import ExpressionError
from retrieval.filters.tree import (
    And,
    Boolean,
    Comparison,
    Expression,
    Glob,
    In,
    IsNull,
    Like,
    Not,
    Number,
    Or,
    Text,
    walk,
)

MAX_LENGTH = 10_000
"""Most characters in an expression."""

MAX_DEPTH = 30
"""Most levels of and, or, not: SQLAlchemy compiles nested conditions by recursion."""

MAX_CONDITIONS = 500
"""Most nodes in an expression: SQLite accepts a chain of at most 1,000 conditions, including those of the caller."""

_GRAMMAR = r"""
?either: both (OR both)*
?both: negation (AND negation)*
?negation: NOT negation -> negated
    | condition
?condition: column COMPARE value -> comparison
    | column IN values -> is_in
    | column NOT IN values -> not_in
    | column LIKE TEXT -> like
    | column NOT LIKE TEXT -> not_like
    | column GLOB TEXT -> glob
    | column NOT GLOB TEXT -> not_glob
    | column IS NULL -> is_null
    | column IS NOT NULL -> not_null
    | "(" either ")"
values: "(" value ("," value)* ")"
column: NAME -> plain_name
    | QUOTED -> quoted_name
value: TEXT -> text
    | NUMBER -> number
    | TRUE -> true
    | FALSE -> false

COMPARE: "<=" | ">=" | "!=" | "=" | "<" | ">"
TEXT: /'([^']|'')*'/
QUOTED: /"([^"]|"")*"/
NUMBER: /-?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?(?![\w.])/i
NAME: /(?!(and|or|not|in|like|glob|is|null|true|false)\b)[^\W\d]\w*/i
AND: /and\b/i
OR: /or\b/i
NOT: /not\b/i
IN: /in\b/i
LIKE: /like\b/i
GLOB: /glob\b/i
IS: /is\b/i
NULL: /null\b/i
TRUE: /true\b/i
FALSE: /false\b/i
%ignore /\s+/
"""

_DESCRIPTIONS = {
    "NAME": "a column name",
    "NUMBER": "a number, true or false",
    "TEXT": "a text in single quotes",
    "COMPARE": "= != < <= > >=",
    "LPAR": "'('",
    "COMMA": "','",
    "RPAR": "')'",
    "$END": "the end",
}
_COVERED_BY_OTHERS = frozenset({"QUOTED", "TRUE", "FALSE"})


def parse(text: str) -> Expression:
    """Parse a filter expression.

    Conditions are ``column = value`` (also ``!= < <= > >=``), ``column in (...)``, ``like``, ``glob``,
    ``is null``, ``not in``, ``not like``, ``not glob`` and ``is not null``. They are combined by ``and``, ``or``,
    ``not`` and brackets; ``not`` binds tightest, ``or`` least. Texts are in single quotes, with ``''`` for a quote.
    Column names with spaces, with special characters or equal to a keyword are in double quotes, with ``""`` for a
    quote. Keywords ignore case.

    Raises:
        ExpressionError: the text does not follow the grammar, is too long, is nested too deeply or has too many parts.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"an expression may have {MAX_LENGTH:,} characters, not {len(text):,}")
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text):
        raise ExpressionError("an expression may hold neither the NUL character nor bytes that are not UTF-8")
    try:
        expression: Expression = _parser().parse(text)  # type: ignore[assignment]  # the result of its transformer
    except UnexpectedInput as error:
        raise ExpressionError(_message(text, error)) from None
    nodes = list(walk(expression))
    if max(depth for _, depth in nodes) > MAX_DEPTH:
        raise ExpressionError(f"the expression nests and, or, not more than {MAX_DEPTH} deep: simplify it")
    if len(nodes) > MAX_CONDITIONS:
        raise ExpressionError(
            f"the expression has more than {MAX_CONDITIONS} parts: use in (...) for many values"
        )
    return expression


def _message(text: str, error: UnexpectedInput) -> str:
    at = (
        len(text)
        if getattr(getattr(error, "token", None), "type", "") == "$END"
        else error.pos_in_stream or 0
    )
    rest = text[at:].split(maxsplit=1)
    actual = repr(rest[0][:30]) if rest else "the end"
    if isinstance(error, UnexpectedCharacters) and text[at] in "'\"":
        return f"expression, character {at + 1}: the quote {text[at]} is never closed"
    accepted: set[str] = getattr(error, "interactive_parser").accepts()  # noqa: B009 - untyped in lark
    accepted = accepted or {"$END"}  # a complete expression was read
    words = [_DESCRIPTIONS.get(name, name.lower()) for name in sorted(accepted - _COVERED_BY_OTHERS)]
    expected = " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    return f"expression, character {at + 1}: expected {expected}, not {actual}"


class _TreeBuilder(Transformer[Any, Any]):
    """Builds the tree: each method implements a grammar rule, from the results of its parts."""

    def either(self, parts: list[Any]) -> Expression:
        return Or(tuple(parts[::2]))

    def both(self, parts: list[Any]) -> Expression:
        return And(tuple(parts[::2]))

    def negated(self, parts: list[Any]) -> Expression:
        return Not(parts[1])

    def comparison(self, parts: list[Any]) -> Expression:
        return Comparison(parts[0], str(parts[1]), parts[2])

    def is_in(self, parts: list[Any]) -> Expression:
        return In(parts[0], parts[-1])

    def like(self, parts: list[Any]) -> Expression:
        return Like(parts[0], _unquoted(parts[-1]))

    def glob(self, parts: list[Any]) -> Expression:
        return Glob(parts[0], _unquoted(parts[-1]))

    def is_null(self, parts: list[Any]) -> Expression:
        return IsNull(parts[0])

    def not_in(self, parts: list[Any]) -> Expression:
        return Not(self.is_in(parts))

    def not_like(self, parts: list[Any]) -> Expression:
        return Not(self.like(parts))

    def not_glob(self, parts: list[Any]) -> Expression:
        return Not(self.glob(parts))

    def not_null(self, parts: list[Any]) -> Expression:
        return Not(self.is_null(parts))

    def values(self, parts: list[Any]) -> tuple[Any, ...]:
        return tuple(parts)

    def plain_name(self, parts: list[Any]) -> str:
        return str(parts[0])

    def quoted_name(self, parts: list[Any]) -> str:
        return _unquoted(parts[0])

    def text(self, parts: list[Any]) -> Text:
        return Text(_unquoted(parts[0]))

    def number(self, parts: list[Any]) -> Number:
        return Number(str(parts[0]))

    def true(self, _: list[Any]) -> Boolean:
        return Boolean(True)

    def false(self, _: list[Any]) -> Boolean:
        return Boolean(False)


def _unquoted(quoted: str) -> str:
    return quoted[1:-1].replace(quoted[0] * 2, quoted[0])


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, start="either", parser="lalr", transformer=_TreeBuilder())
