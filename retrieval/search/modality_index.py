"""The vectors of one modality with their asset numbers, searched by medium."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.search.calibration import Backgrounds
from retrieval.types import Integers, Matrix
from retrieval.vectors.base import Explain, Rows, VectorIndex, silent

NO_ASSET = -1
"""Placeholder for an asset number where there is no result."""


@dataclass(frozen=True, slots=True)
class ResultArrays:
    """Results as arrays, for evaluation and export.

    Attributes:
        scores: (q, k) float32, descending; NaN where there are fewer than k.
        assets: (q, k) int64 asset numbers of the index's catalog; -1 where there are fewer than k.
    """

    scores: Matrix
    assets: Integers


class ModalityIndex:
    """The vectors of one modality, their asset numbers, and the distribution of their scores.

    Attributes:
        index: the vectors.
        assets: (n,) int64 asset number of each row.
        media: (n,) int64: for a segment the asset number of the whole medium, otherwise the row's own asset number.
        backgrounds: score distributions of unrelated pairs.
    """

    def __init__(
        self, index: VectorIndex, assets: Integers, media: Integers, backgrounds: Backgrounds
    ) -> None:
        self.index = index
        self.assets = assets
        self.media = media
        self.backgrounds = backgrounds
        self._has_segments = bool((assets != media).any())

    def search(
        self, queries: Matrix, k: int, rows: Rows = None, explain: Explain = silent
    ) -> tuple[Matrix, Integers]:
        """Return the ``k`` best media for each query, each by its best row.

        Returns:
            (q, k') float32 scores, descending, and (q, k') int64 asset numbers; ``NO_ASSET`` with NaN after the last
            result of a query that has fewer than others.
        """
        depth, count = k, len(self.index) if rows is None else len(rows)
        while True:
            scores, found_rows = self.index.search(queries, depth, rows, explain=explain)
            if not self._has_segments:
                return scores, self.assets[found_rows]
            first_of_media = [
                np.sort(np.unique(self.media[query_rows], return_index=True)[1])[:k]
                for query_rows in found_rows
            ]
            if depth >= count or all(len(positions) == k for positions in first_of_media):
                return self._select(scores, found_rows, first_of_media)
            depth *= 4  # the first results were segments of too few media

    def _select(
        self, scores: Matrix, rows: Integers, positions: Sequence[Integers]
    ) -> tuple[Matrix, Integers]:
        """Return the scores and asset numbers at these positions of each query's rows."""
        shape = len(positions), max(map(len, positions), default=0)
        selected, assets = np.full(shape, np.nan, np.float32), np.full(shape, NO_ASSET, np.int64)
        for number, columns in enumerate(positions):
            selected[number, : len(columns)] = scores[number, columns]
            assets[number, : len(columns)] = self.assets[rows[number, columns]]
        return selected, assets

    def rows_of(self, assets: Sequence[int] | Integers) -> Integers:
        """Return the rows of the assets that are in this index, (m,) int64 ascending."""
        return np.flatnonzero(np.isin(self.assets, assets)).astype(np.int64)
