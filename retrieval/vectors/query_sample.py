"""The queries that an index is tuned and measured with: real queries of every modality."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.errors import DamagedIndexError
from retrieval.types import Matrix, Modality

Sample = Mapping[Modality, Matrix]
"""(q, d) float32 queries of each modality.

Vectors of another modality lie in another region of the space than those of the index, so recall for an index's own
vectors as queries says little about them (the "modality gap", Liang et al. 2022, arXiv:2203.02053).
"""

SAMPLE_SIZE = 400
"""Queries per modality: with ten hits each, a recall of 0.95 is accurate to about 0.01."""


def draw(count: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Choose the query vectors among ``count``: (q,) int64, ascending, always the same for one seed."""
    random = np.random.default_rng(seed)
    return np.sort(random.choice(count, min(count, SAMPLE_SIZE), replace=False)).astype(np.int64)


def write(path: Path, sample: Sample) -> None:
    """Write the queries, so that the index can be measured again."""
    with path.open("wb") as file:
        arrays: dict[str, Any] = {str(modality): queries for modality, queries in sample.items()}
        np.savez(file, **arrays)


def read(path: Path) -> dict[Modality, Matrix]:
    """Read the queries written by ``write``.

    Raises:
        DamagedIndexError: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {Modality(name): arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError) as error:
        raise DamagedIndexError(f"{path} cannot be read ({error}): restore or rebuild the index") from error
