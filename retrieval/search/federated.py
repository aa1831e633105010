"""Search several indexes of the same sources, made with different encoders, and fuse their rankings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from retrieval.errors import OptionError
from retrieval.option_checks import check_k, known
from retrieval.search.rank_fusion import RANK_FUSIONS, first_hits, fuse_rankings, fusion_depth
from retrieval.search.searcher import Searcher
from retrieval.types import Hit, Query

if TYPE_CHECKING:
    from retrieval.display.previews import Preview
    from retrieval.search.engine import SearchEngine


class Several(Searcher):
    """Several indexes searched as one, by late fusion of their rankings.

    The same asset in two indexes has the same item id, modality, path and caption, because they index the same sources.
    A hit is taken from the first index that found it, including its segment and asset number. Its score is the sum of
    what the rankings add. It has no percentile and no contributions.
    """

    def __init__(
        self, engines: Sequence[SearchEngine], *, combine: str = "rrf", weights: Sequence[float] | None = None
    ) -> None:
        """Fuse the rankings of ``engines``.

        Args:
            engines: one or more open indexes.
            combine: ``"rrf"`` (sums of reciprocal ranks) or ``"zscore"`` (sums of standardised scores).
            weights: the weight of each index, above 0; all equal when None.

        Raises:
            OptionError: there are no indexes, the method is unknown, or there is not one valid weight for each index.
        """
        self.engines = list(engines)
        self._method = known("combine method", combine, RANK_FUSIONS)
        self._weights = (
            [1.0] * len(self.engines) if weights is None else [float(weight) for weight in weights]
        )
        fits = len(self._weights) == len(self.engines) > 0
        if not fits or not all(0 < weight < float("inf") for weight in self._weights):
            raise OptionError(
                f"expected one or more indexes and a weight above 0 for each, not {len(self.engines)} indexes "
                f"and weights {self._weights}"
            )

    def search_batch(
        self,
        queries: Sequence[Query],
        *,
        to: str | None = None,
        k: int = 10,
        where: str | None = None,
        min_percentile: float | None = None,
    ) -> list[list[Hit]]:
        """Return the fused hits of many queries; see ``search``.

        Raises:
            OptionError: a query contains a vector, which belongs to the space of one index; also as for each index.
        """
        k = check_k(k)
        if any(term.kind == "vector" for query in queries for term in query.terms()):
            raise OptionError(
                "a vector belongs to the space of one index: query several indexes by text, files or ids"
            )
        answers = [
            engine.search_batch(queries, to=to, k=fusion_depth(k), where=where, min_percentile=min_percentile)
            for engine in self.engines
        ]
        return [self._fuse(rankings)[:k] for rankings in zip(*answers, strict=True)]

    def previews(self, hits: Sequence[Hit]) -> list[Preview]:
        """Return previews of the hits, each from an index in which the asset number refers to the same asset."""
        return [self._preview(hit, hit.asset) for hit in hits if hit.asset is not None]

    def _fuse(self, rankings: Sequence[Sequence[Hit]]) -> list[Hit]:
        # An index returns a caption twice if an item has it twice.
        distinct = [list(first_hits(ranking, _identity).values()) for ranking in rankings]
        return [
            replace(hit, contributions=None)
            for hit in fuse_rankings(distinct, self._weights, self._method, _identity)
        ]

    def _preview(self, hit: Hit, asset: int) -> Preview:
        for engine in self.engines:
            if engine.index.catalog.asset(asset) is not None:
                preview = engine.previews([hit])[0]
                if (preview.id, preview.path, preview.text) == (hit.id, hit.path, hit.text):
                    return preview
        raise OptionError(f"none of these indexes contains the hit {hit.id!r} as it is shown: search again")


def _identity(hit: Hit) -> tuple[object, ...]:
    """Return what identifies a hit in every index."""
    return hit.id, hit.modality, hit.path, hit.text
