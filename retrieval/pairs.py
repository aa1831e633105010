"""The methods that are named for what is asked by and what is found: ``text_to_image`` and so on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self, overload

from retrieval.hits import Hits
from retrieval.types import Modality, Query

if TYPE_CHECKING:
    from retrieval.searcher import Searcher


class Pair(Protocol):
    """A search from one modality to another."""

    def __call__(
        self, query: Any, k: int = 10, *, where: str | None = None, min_percentile: float | None = None
    ) -> Hits:
        """The ``k`` assets nearest to ``query``; see ``SearchEngine.search``."""
        ...


class pair:  # noqa: N801 - used as a function
    """The method that asks by one modality for another."""

    def __init__(self, query: Modality, target: Modality) -> None:
        self._query, self._target = query, target
        self.__doc__ = f"The {target} nearest to a query of {query}; see ``search``."

    @overload
    def __get__(self, asked: None, owner: type) -> Self: ...

    @overload
    def __get__(self, asked: Searcher, owner: type) -> Pair: ...

    def __get__(self, asked: Searcher | None, owner: type) -> Self | Pair:
        """Bound to what is asked, the search."""
        if asked is None:
            return self

        def search(
            query: Any, k: int = 10, *, where: str | None = None, min_percentile: float | None = None
        ) -> Hits:
            one = Query(**{self._query: query})
            found = asked.search_batch(
                [one], to=self._target, k=k, where=where, min_percentile=min_percentile
            )
            return Hits(found[0], asked)

        search.__doc__ = self.__doc__
        return search
