"""The queries an index is tuned and measured with: real ones, of every modality that may ask."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.errors import DamagedIndexError
from retrieval.types import Matrix, Modality

Sample = Mapping[Modality, Matrix]
"""(q, d) float32 queries of each modality.

Another modality's vectors lie elsewhere in the space than those of the index, so that what finds an index's own
vectors again says little about them (the "modality gap", Liang et al. 2022, arXiv:2203.02053).
"""

SIZE = 400
"""Queries of a modality: with ten hits each, a recall of 0.95 is known to about 0.01."""


def draw(count: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Which of ``count`` vectors to ask with: (q,) int64, ascending, always the same ones."""
    random = np.random.default_rng(seed)
    return np.sort(random.choice(count, min(count, SIZE), replace=False)).astype(np.int64)


def write(path: Path, sample: Sample) -> None:
    """Keep the queries, so that the index can be measured again."""
    with path.open("wb") as file:
        arrays: dict[str, Any] = {str(modality): queries for modality, queries in sample.items()}
        np.savez(file, **arrays)


def read(path: Path) -> dict[Modality, Matrix]:
    """What ``write`` kept.

    Raises:
        DamagedIndexError: the file is missing or no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {Modality(name): arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError) as error:
        raise DamagedIndexError(f"{path} cannot be read ({error}): restore or rebuild the index") from error
