"""The filter language of ``--where`` and ``--holdout``: parsing text to a tree, and the tree to an SQL condition."""

from retrieval.filters.parser import parse
from retrieval.filters.sql import Files, check_column, condition, stored
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
    Value,
    columns,
)

__all__ = [
    "And",
    "Boolean",
    "Comparison",
    "Expression",
    "Files",
    "Glob",
    "In",
    "IsNull",
    "Like",
    "Not",
    "Number",
    "Or",
    "Text",
    "Value",
    "check_column",
    "columns",
    "condition",
    "parse",
    "stored",
]
