"""A list of hits that notebooks can show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from retrieval.types import Hit

if TYPE_CHECKING:
    from retrieval.display.previews import Preview


class Hits(list[Hit]):
    """A list of hits, best first. Notebooks show it with a preview of each hit.

    Args:
        hits: best first.
        make_previews: returns previews of hits; ``Searcher.previews`` of the searcher that found them.
    """

    def __init__(
        self,
        hits: Iterable[Hit] = (),
        make_previews: Callable[[Sequence[Hit]], Sequence[Preview]] | None = None,
    ) -> None:
        super().__init__(hits)
        self._make_previews = make_previews

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle only the hits, without the index that found them."""
        return Hits, (list(self),)

    def _repr_html_(self) -> str:
        """Return the HTML that notebooks show: pictures, captions and players."""
        from retrieval.display.hits_page import fragment

        return fragment(self, None if self._make_previews is None else self._make_previews(self))
