"""Runs and relevance judgements in the file formats of trec_eval, ir-measures, ranx and pytrec_eval.

A run has lines ``query Q0 asset rank score tag``, judgements ``query 0 asset gain``
(https://github.com/usnistgov/trec_eval).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from retrieval.errors import SourceError
from retrieval.evaluation.relevance import Relevance
from retrieval.formatting import single_spaced
from retrieval.types import Integers, Matrix

Judgements = Mapping[str, Mapping[str, int]]
"""Gain by query and asset."""

Run = Mapping[str, Mapping[str, float]]
"""Score by query and asset."""

QUERIES_PER_CHUNK = 1024


def read_qrels(path: Path) -> Judgements:
    """Return the judgements in ``path``.

    Raises:
        SourceError: the file cannot be read, a line does not have four columns, or a gain is not a whole number.
    """
    judgements: dict[str, dict[str, int]] = {}
    for number, (query, _, asset, gain) in _read_columns(path, 4, "query 0 asset gain"):
        try:
            judgements.setdefault(query, {})[asset] = int(gain)
        except ValueError:
            raise SourceError(
                f"line {number} of {str(path)!r}: expected a whole number as gain, not {gain!r}"
            ) from None
    return judgements


def read_run(path: Path) -> Run:
    """Return the run in ``path``. As is usual, the order comes from the scores and not from the column of ranks.

    Raises:
        SourceError: the file cannot be read, a line does not have six columns, or a score is not a number.
    """
    run: dict[str, dict[str, float]] = {}
    for number, (query, _, asset, _, score, _) in _read_columns(path, 6, "query Q0 asset rank score tag"):
        try:
            run.setdefault(query, {})[asset] = float(score)
        except ValueError:
            raise SourceError(
                f"line {number} of {str(path)!r}: expected a number as score, not {score!r}"
            ) from None
    return run


def write_run(
    path: Path, queries: Sequence[str], pool: Sequence[str], scores: Matrix, rows: Integers, tag: str
) -> None:
    """Write a run.

    Equal scores are written as float32 numbers that descend by the smallest possible step. Other programs break ties in
    their own ways, and this makes all of them use the order that was served.

    Args:
        path: the file to write.
        queries: names of the q queries.
        pool: names of the n assets.
        scores: (q, k) float32, descending.
        rows: (q, k) int64 positions in the pool, best first; -1 for none.
        tag: the run's name.
    """
    descending = _strictly_descending(scores)
    with path.open("w", encoding="utf-8") as file:
        for query, result_rows, query_scores in zip(queries, rows.tolist(), descending.tolist(), strict=True):
            file.writelines(
                f"{query} Q0 {pool[row]} {rank} {score!r} {tag}\n"
                for rank, (row, score) in enumerate(zip(result_rows, query_scores, strict=True), start=1)
                if row >= 0
            )


def write_qrels(path: Path, queries: Sequence[str], pool: Sequence[str], relevance: Relevance) -> None:
    """Write the relevant pairs; gains are rounded, because the format has only whole numbers."""
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, len(queries), QUERIES_PER_CHUNK):
            query_numbers, columns, gains = relevance.pairs(slice(start, start + QUERIES_PER_CHUNK))
            values = np.ones(len(query_numbers)) if gains is None else gains
            file.writelines(
                f"{queries[start + query_number]} 0 {pool[column]} {round(float(gain))}\n"
                for query_number, column, gain in zip(
                    query_numbers.tolist(), columns.tolist(), values.tolist(), strict=True
                )
            )


def _read_columns(path: Path, columns: int, layout: str) -> Iterator[tuple[int, list[str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{str(path)!r} cannot be read: {single_spaced(str(error))}") from error
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split()
        if fields and len(fields) != columns:
            raise SourceError(
                f"line {number} of {str(path)!r} has {len(fields)} columns: expected {layout!r}, "
                "with %20 for a space in a name"
            )
        if fields:
            yield number, fields


def _strictly_descending(scores: Matrix) -> Matrix:
    """Return descending ``scores``, each lowered to be below the one before, by the smallest float32 step needed."""
    bits = np.ascontiguousarray(scores + np.float32(0), dtype=np.float32).view(np.int32).astype(np.int64)
    # Floats have the order of their bits as integers; negative floats have the reverse order.
    ordered = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    positions = np.arange(scores.shape[1])
    ordered = np.minimum.accumulate(ordered + positions, axis=1) - positions
    restored = np.where(ordered < 0, -ordered | 0x80000000, ordered).astype(np.uint32)
    descending: Matrix = restored.view(np.float32)
    return descending
