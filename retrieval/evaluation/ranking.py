"""At which ranks the relevant assets of each query come: exactly, or in what an index returned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import OptionError
from retrieval.evaluation.metrics import RelevantRanks, Values
from retrieval.evaluation.relevance import Relevance, offsets
from retrieval.types import Integers, Matrix

SCORES_A_CHUNK = 2**23
"""Scores held at a time: 32 MiB of float32, and some five times that beside them while they are ranked."""

COUNT_UP_TO = 32
"""Relevant assets a query up to which counting what is ahead of each beats sorting the gallery."""


def relevant_ranks(
    queries: Matrix, gallery: Matrix, relevance: Relevance, *, scores_a_chunk: int = SCORES_A_CHUNK
) -> RelevantRanks:
    """The exact ranks of every relevant asset, by inner product.

    The rank of an asset is 1, plus the assets that score higher, plus those that score the same and stand
    before it: with the gallery in ascending order of ids, ties are broken by id. Gallery rows of the same
    bits always tie, which a matrix product alone does not promise (BLAS sums the rows at the edge of a block
    in another order). A query that is in the gallery itself is left out of its own ranking.

    Args:
        queries: (q, d) float32, finite.
        gallery: (n, d) float32, finite, in ascending order of ids.
        relevance: of shape (q, n).
        scores_a_chunk: bounds memory; q and n do not, beyond the arrays handed in and what is returned.

    Raises:
        OptionError: shapes that do not fit together, or vectors that are not finite.
    """
    queries, gallery = (np.ascontiguousarray(rows, dtype=np.float32) for rows in (queries, gallery))
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        shapes = f"{queries.shape} and {gallery.shape}"
        raise OptionError(f"expected (q, d) queries and an (n, d) gallery, not {shapes}")
    if not (np.isfinite(queries).all() and np.isfinite(gallery).all()):
        raise OptionError("vectors to rank must be finite: there are NaN or infinite values among them")
    _check_shape(relevance, (len(queries), len(gallery)))

    repeats, originals = _repeated_rows(gallery)
    chunk = max(1, scores_a_chunk // max(1, len(gallery)))
    ranks: list[Integers] = [np.empty(0, np.int64)]
    gains: list[Values] = [np.empty(0, np.float64)]
    counts = np.zeros(len(queries), np.int64)
    for start in range(0, len(queries), chunk):
        rows = slice(start, start + chunk)
        scores = queries[rows] @ gallery.T
        scores[:, repeats] = scores[:, originals]
        selves = relevance.query_rows[rows]
        excluded = np.flatnonzero(selves >= 0)
        scores[excluded, selves[excluded]] = -np.inf
        owners, columns, gained = relevance.pairs(rows)
        counts[rows] = np.bincount(owners, minlength=len(scores))
        few = counts[rows].max() <= COUNT_UP_TO
        found = (_ranks_by_counting if few else _ranks_by_sorting)(scores, owners, columns)
        order = np.lexsort((found, owners))
        ranks.append(found[order])
        if gained is not None:
            gains.append(gained[order])
    gained = None if relevance.ideal is None else np.concatenate(gains)
    return RelevantRanks(np.concatenate(ranks), offsets(counts), relevance.totals, gained, relevance.ideal)


def ranks_from_results(rows: Integers, relevance: Relevance) -> RelevantRanks:
    """The ranks of the relevant assets among the first k that an index returned.

    Measures with a cutoff above k, or none, see only these k: what is further down counts as not found.

    Args:
        rows: (q, k) int64 gallery rows, best first; -1 where the index returned fewer. Where a query found
            itself, what follows moves up by one.
        relevance: of shape (q, n).

    Raises:
        OptionError: shapes that do not fit together, a row outside the gallery, or a row twice for a query.
    """
    if rows.ndim != 2:
        raise OptionError(f"expected (q, k) rows, not {rows.shape}")
    size = relevance.shape[1]
    if not ((rows >= -1) & (rows < size)).all():
        raise OptionError(f"rows must be below {size}, the size of the gallery, or -1")
    ordered = np.sort(rows, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        raise OptionError("a gallery row came twice among the results of one query")
    _check_shape(relevance, (len(rows), size))

    counted = (rows >= 0) & (rows != relevance.query_rows[:, None])
    gains = np.zeros(rows.shape)
    gains[counted] = relevance.gains_of(np.nonzero(counted)[0], rows[counted])
    found = gains > 0
    ranks = counted.cumsum(axis=1, dtype=np.int64)[found]
    gained = None if relevance.ideal is None else gains[found]
    return RelevantRanks(ranks, offsets(found.sum(axis=1)), relevance.totals, gained, relevance.ideal)


def _ranks_by_counting(scores: Matrix, owners: Integers, columns: Integers) -> Integers:
    """The rank of each pair from what is ahead of it: two sweeps of the scores for every query's i-th."""
    ranks = np.empty(len(owners), np.int64)
    counts = np.bincount(owners, minlength=len(scores))
    starts = offsets(counts)
    # Words of 64 columns are counted at once; the last one's unused columns stay False.
    mask = np.zeros((len(scores), -(-scores.shape[1] // 64) * 64), np.bool_)
    for nth in range(counts.max()):
        rows = np.flatnonzero(counts > nth)
        pairs = starts[rows] + nth
        block = scores if len(rows) == len(scores) else scores[rows]
        own, column = scores[rows, columns[pairs]][:, None], columns[pairs][:, None]
        flags = mask[: len(rows)]
        compared = flags[:, : block.shape[1]]
        np.greater(block, own, out=compared)
        ranks[pairs] = 1 + _true_by_row(flags)
        np.equal(block, own, out=compared)
        tied = np.flatnonzero(_true_by_row(flags) > 1)
        ahead = (block[tied] == own[tied]) & (np.arange(block.shape[1]) < column[tied])
        ranks[pairs[tied]] += ahead.sum(axis=1)
    return ranks


def _true_by_row(mask: NDArray[np.bool_]) -> Integers:
    """(rows,) how many of the columns, 64 or a multiple, are true: faster than NumPy's sum by far."""
    words = np.packbits(mask).view(np.uint64).reshape(len(mask), -1)
    counts: Integers = np.bitwise_count(words).sum(axis=1, dtype=np.int64)
    return counts


def _ranks_by_sorting(scores: Matrix, owners: Integers, columns: Integers) -> Integers:
    """The rank of each pair from sorting integer keys: the score from the top, then the column.

    The bits of positive floats order as they do; turning all bits of the negative ones, and the sign of the
    others, makes that so for every float.
    """
    bits = (0.0 - scores).view(np.uint32)  # 0 - s: descending, and no negative zero
    keys = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.arange(scores.shape[1], dtype=np.uint64) << np.uint64(1)
    keys[owners, columns] |= np.uint64(1)  # marks what is relevant, and changes no order
    keys.sort(axis=1)
    found, places = np.nonzero(keys & np.uint64(1))
    whose = (keys[found, places] & np.uint64(2**32 - 1)) >> np.uint64(1)
    ranks: Integers = (places + 1)[np.lexsort((whose, found))]
    return ranks


def _repeated_rows(gallery: Matrix) -> tuple[Integers, Integers]:
    """The rows whose bits came before, and for each the first row that has them."""
    if 0 in gallery.shape:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    # Few rows share their first number by chance, and sorting one number a row is cheap.
    _, group, sizes = np.unique(gallery[:, 0], return_inverse=True, return_counts=True)
    candidates = np.flatnonzero(sizes[group] > 1)
    whole = np.dtype((np.void, gallery.shape[1] * gallery.itemsize))
    rows = gallery[candidates].view(whole).ravel()
    _, first, same = np.unique(rows, return_index=True, return_inverse=True)
    repeats = np.flatnonzero(first[same] != np.arange(len(candidates)))
    return candidates[repeats], candidates[first[same[repeats]]]


def _check_shape(relevance: Relevance, shape: tuple[int, int]) -> None:
    if relevance.shape != shape:
        raise OptionError(
            f"expected a label for each of {shape[0]} queries and {shape[1]} assets, not {relevance.shape}"
        )
