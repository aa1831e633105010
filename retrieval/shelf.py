"""The vectors of one modality, whose they are, and searching them by medium."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrieval.types import Integers, Matrix
from retrieval.vectors.base import VectorIndex


class Shelf:
    """The vectors of one modality, and whose they are.

    Attributes:
        index: the vectors.
        assets: (n,) int64 asset number of each row.
        media: (n,) int64: for a segment the asset number of the whole it is a part of, else its own.
    """

    def __init__(self, index: VectorIndex, assets: Integers, media: Integers) -> None:
        self.index = index
        self.assets = assets
        self.media = media
        self._has_segments = bool((assets != media).any())

    def search(self, queries: Matrix, k: int, rows: Integers | None = None) -> list[list[tuple[float, int]]]:
        """For each query the (score, asset number) of the ``k`` best media, each by its best row."""
        asked, count = k, len(self.index) if rows is None else len(rows)
        while True:
            scores, found = self.index.search(queries, asked, rows)
            answers = [self._media(*best)[:k] for best in zip(scores, found, strict=True)]
            if not self._has_segments or asked >= count or all(len(answer) == k for answer in answers):
                return answers
            asked *= 4  # segments of few media came first

    def _media(self, scores: Matrix, rows: Integers) -> list[tuple[float, int]]:
        if self._has_segments:
            first = np.sort(np.unique(self.media[rows], return_index=True)[1])
            scores, rows = scores[first], rows[first]
        return list(zip(scores.tolist(), self.assets[rows].tolist(), strict=True))

    def rows_of(self, assets: Sequence[int] | Integers) -> Integers:
        """(m,) int64 ascending: the rows of those of the assets that are here."""
        return np.flatnonzero(np.isin(self.assets, assets)).astype(np.int64)
