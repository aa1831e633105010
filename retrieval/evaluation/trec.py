"""Runs and judgements in the files that trec_eval, ir-measures, ranx and pytrec_eval read and write.

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

QUERIES_A_CHUNK = 1024


def read_qrels(path: Path) -> Judgements:
    """The judgements in ``path``.

    Raises:
        SourceError: it cannot be read, a line has other than four columns, or a gain is no whole number.
    """
    judged: dict[str, dict[str, int]] = {}
    for number, (query, _, asset, gain) in _lines(path, 4, "query 0 asset gain"):
        try:
            judged.setdefault(query, {})[asset] = int(gain)
        except ValueError:
            raise SourceError(
                f"line {number} of {str(path)!r}: expected a whole number as gain, not {gain!r}"
            ) from None
    return judged


def read_run(path: Path) -> Run:
    """The run in ``path``. As everywhere, the scores count and not the column of ranks.

    Raises:
        SourceError: it cannot be read, a line has other than six columns, or a score is no number.
    """
    run: dict[str, dict[str, float]] = {}
    for number, (query, _, asset, _, score, _) in _lines(path, 6, "query Q0 asset rank score tag"):
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

    Equal scores are written as the next smaller float32 each: other programs break ties in their own ways,
    and so all of them find the order that was served.

    Args:
        path: the file.
        queries: names of q queries.
        pool: names of n assets.
        scores: (q, k) float32, descending.
        rows: (q, k) int64, in the pool, best first; -1 for none.
        tag: the run's name.
    """
    falling = _strictly_falling(scores)
    with path.open("w", encoding="utf-8") as file:
        for query, query_rows, query_scores in zip(queries, rows.tolist(), falling.tolist(), strict=True):
            file.writelines(
                f"{query} Q0 {pool[row]} {rank} {score!r} {tag}\n"
                for rank, (row, score) in enumerate(zip(query_rows, query_scores, strict=True), start=1)
                if row >= 0
            )


def write_qrels(path: Path, queries: Sequence[str], pool: Sequence[str], relevance: Relevance) -> None:
    """Write what is relevant; gains are rounded, as the format has whole numbers alone."""
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, len(queries), QUERIES_A_CHUNK):
            owners, columns, gains = relevance.pairs(slice(start, start + QUERIES_A_CHUNK))
            values = np.ones(len(owners)) if gains is None else gains
            file.writelines(
                f"{queries[start + owner]} 0 {pool[column]} {round(float(gain))}\n"
                for owner, column, gain in zip(
                    owners.tolist(), columns.tolist(), values.tolist(), strict=True
                )
            )


def _lines(path: Path, columns: int, form: str) -> Iterator[tuple[int, list[str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{str(path)!r} cannot be read: {single_spaced(str(error))}") from error
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split()
        if fields and len(fields) != columns:
            raise SourceError(
                f"line {number} of {str(path)!r} has {len(fields)} columns: expected {form!r}, "
                "with %20 for a space in a name"
            )
        if fields:
            yield number, fields


def _strictly_falling(scores: Matrix) -> Matrix:
    """``scores``, descending, each below the one before by the least that float32 allows at the least."""
    bits = np.ascontiguousarray(scores + np.float32(0), dtype=np.float32).view(np.int32).astype(np.int64)
    # Floats order as the integers of their bits do, the negative ones the other way round.
    ordered = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    places = np.arange(scores.shape[1])
    ordered = np.minimum.accumulate(ordered + places, axis=1) - places
    back = np.where(ordered < 0, -ordered | 0x80000000, ordered).astype(np.uint32)
    falling: Matrix = back.view(np.float32)
    return falling
