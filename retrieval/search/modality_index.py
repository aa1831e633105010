"""The vectors of one modality, whose they are, and searching them by medium."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.search.calibration import Backgrounds
from retrieval.types import Integers, Matrix
from retrieval.vectors.base import Explain, Rows, VectorIndex, silent

NO_ASSET = -1
"""In the place of an asset number, where there is none."""


@dataclass(frozen=True, slots=True)
class ResultArrays:
    """Answers as arrays, for evaluation and export.

    Attributes:
        scores: (q, k) float32, descending; NaN where there are fewer than k.
        assets: (q, k) int64 asset numbers, as ``SearchEngine.catalog`` knows them; -1 where there are fewer.
    """

    scores: Matrix
    assets: Integers


class ModalityIndex:
    """The vectors of one modality, whose they are, and how their scores are distributed.

    Attributes:
        index: the vectors.
        assets: (n,) int64 asset number of each row.
        media: (n,) int64: for a segment the asset number of the whole it is a part of, else its own.
        backgrounds: of the scores where nothing is meant.
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
        """The ``k`` best media for each query, each by its best row.

        Returns:
            (q, k') float32 scores, descending, and (q, k') int64 asset numbers; ``NOBODY`` with NaN behind the
            last of a query that found fewer than others.
        """
        asked, count = k, len(self.index) if rows is None else len(rows)
        while True:
            scores, found = self.index.search(queries, asked, rows, explain=explain)
            if not self._has_segments:
                return scores, self.assets[found]
            first = [np.sort(np.unique(self.media[each], return_index=True)[1])[:k] for each in found]
            if asked >= count or all(len(places) == k for places in first):
                return self._of_media(scores, found, first)
            asked *= 4  # segments of few media came first

    def _of_media(
        self, scores: Matrix, rows: Integers, places: Sequence[Integers]
    ) -> tuple[Matrix, Integers]:
        """The answers at these places of each query's rows."""
        shape = len(places), max(map(len, places), default=0)
        kept, assets = np.full(shape, np.nan, np.float32), np.full(shape, NO_ASSET, np.int64)
        for at, chosen in enumerate(places):
            kept[at, : len(chosen)] = scores[at, chosen]
            assets[at, : len(chosen)] = self.assets[rows[at, chosen]]
        return kept, assets

    def rows_of(self, assets: Sequence[int] | Integers) -> Integers:
        """(m,) int64 ascending: the rows of those of the assets that are here."""
        return np.flatnonzero(np.isin(self.assets, assets)).astype(np.int64)
