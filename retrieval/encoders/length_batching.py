"""Group sequences of similar length into batches, so that little padding is needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.types import Integers


def length_batches(sequences: Sequence[Sequence[int]], size: int) -> list[Integers]:
    """Return batches of at most ``size`` sequence numbers, the shortest sequences first."""
    order = np.argsort([len(each) for each in sequences], kind="stable")
    return [order[at : at + size] for at in range(0, len(order), size)]


def padded(sequences: Sequence[Sequence[int]]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return (n, longest) int32 rows padded with 0, and (n,) int32 lengths."""
    lengths = np.array([len(each) for each in sequences], np.int32)
    rows = np.zeros((len(sequences), lengths.max()), np.int32)
    for row, each in zip(rows, sequences, strict=True):
        row[: len(each)] = each
    return rows, lengths


def sequence_numbers(batches: Sequence[Integers]) -> Integers:
    """Return the (n,) sequence numbers of all rows of the batches, one batch after the other."""
    return np.concatenate([np.empty(0, np.int64), *batches])
