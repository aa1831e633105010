"""Indexes of the same things, made with different encoders: each is asked, and their rankings are joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from retrieval.errors import OptionError
from retrieval.search.rank_fusion import RANK_FUSIONS, first_hits, fuse_rankings, fusion_depth
from retrieval.search.searcher import Searcher
from retrieval.types import Hit, Query
from retrieval.validation import check_k, known

if TYPE_CHECKING:
    from retrieval.display.previews import Preview
    from retrieval.search.engine import SearchEngine


class Several(Searcher):
    """Several indexes as one, whose answers are late fusions of theirs.

    What is the same in two indexes has the same item id, modality, path and caption: they are of the same sources. A
    hit is as the first index that found it has it, its moment and number included, but for its score, which is the
    sum of what the rankings add, and for percentile and contributions, which it has not.
    """

    def __init__(
        self, engines: Sequence[SearchEngine], *, combine: str = "rrf", weights: Sequence[float] | None = None
    ) -> None:
        """Join the rankings of ``engines``.

        Args:
            engines: one or more open indexes.
            combine: ``"rrf"`` (sums of reciprocal ranks) or ``"zscore"`` (sums of standardised scores).
            weights: how much each index counts, above 0; all the same when None.

        Raises:
            OptionError: there are no indexes, the way is unknown, or the weights are not one for each.
        """
        self.engines = list(engines)
        self._way = known("way to combine", combine, RANK_FUSIONS)
        self._weights = [1.0] * len(self.engines) if weights is None else [float(own) for own in weights]
        fits = len(self._weights) == len(self.engines) > 0
        if not fits or not all(0 < own < float("inf") for own in self._weights):
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
        """The joined answers to many queries; see ``search``.

        Raises:
            OptionError: a query is a vector, which lies in the space of one index alone; and as each index does.
        """
        k = check_k(k)
        if any(term.kind == "vector" for query in queries for term in query.terms()):
            raise OptionError("a vector lies in the space of one index: ask several by text, files or ids")
        answers = [
            engine.search_batch(queries, to=to, k=fusion_depth(k), where=where, min_percentile=min_percentile)
            for engine in self.engines
        ]
        return [self._joined(rankings)[:k] for rankings in zip(*answers, strict=True)]

    def previews(self, hits: Sequence[Hit]) -> list[Preview]:
        """What the hits are, to be looked at, each as an index has it in which its number stands for the same."""
        return [self._medium(hit, hit.asset) for hit in hits if hit.asset is not None]

    def _joined(self, rankings: Sequence[Sequence[Hit]]) -> list[Hit]:
        # A caption that an item has twice an index finds twice.
        own = [list(first_hits(ranking, _same).values()) for ranking in rankings]
        return [
            replace(hit, contributions=None) for hit in fuse_rankings(own, self._weights, self._way, _same)
        ]

    def _medium(self, hit: Hit, asset: int) -> Preview:
        for engine in self.engines:
            if engine.index.catalog.asset(asset) is not None:
                medium = engine.previews([hit])[0]
                if (medium.id, medium.path, medium.text) == (hit.id, hit.path, hit.text):
                    return medium
        raise OptionError(f"none of these indexes has found {hit.id!r} as the hit shows it: search again")


def _same(hit: Hit) -> tuple[object, ...]:
    """What is the same in every index."""
    return hit.id, hit.modality, hit.path, hit.text
