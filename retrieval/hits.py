"""Hits as a list that notebooks show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from retrieval.types import Hit

if TYPE_CHECKING:
    from retrieval.searcher import Searcher


class Hits(list[Hit]):
    """A list of hits, best first, that knows who found them and so can show what they are."""

    def __init__(self, hits: Iterable[Hit] = (), searcher: Searcher | None = None) -> None:
        super().__init__(hits)
        self._searcher = searcher

    def __reduce__(self) -> tuple[Any, ...]:
        """Without who found them: an index does not travel with its answers."""
        return Hits, (list(self),)

    def _repr_html_(self) -> str:
        """What notebooks show: pictures, captions and players."""
        from retrieval.report.results import fragment

        return fragment(self, self._searcher)
