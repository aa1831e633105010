"""Hits as a list that notebooks show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from retrieval.types import Hit

if TYPE_CHECKING:
    from retrieval.display.previews import Preview


class Hits(list[Hit]):
    """A list of hits, best first, that notebooks show with a preview of each.

    Args:
        hits: best first.
        media: makes the previews of hits; ``Searcher.previews`` of what found them.
    """

    def __init__(
        self, hits: Iterable[Hit] = (), media: Callable[[Sequence[Hit]], Sequence[Preview]] | None = None
    ) -> None:
        super().__init__(hits)
        self._media = media

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the hits alone: an index does not travel with its results."""
        return Hits, (list(self),)

    def _repr_html_(self) -> str:
        """Return what notebooks show: pictures, captions and players."""
        from retrieval.display.hits_page import fragment

        return fragment(self, None if self._media is None else self._media(self))
