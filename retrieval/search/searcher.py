"""What answers queries: an engine over an index folder, or the client of a server that has one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, overload

from retrieval.search.hits import Hits
from retrieval.search.rank_fusion import search_and_fuse
from retrieval.types import Hit, Modality, Query

if TYPE_CHECKING:
    from retrieval.display.previews import Preview


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
            return Hits(found[0], asked.previews)

        search.__doc__ = self.__doc__
        return search


class Searcher(ABC):
    """Searches in all their forms, by way of one: many queries in a call."""

    @abstractmethod
    def search_batch(
        self,
        queries: Sequence[Query],
        *,
        to: str | None = None,
        k: int = 10,
        where: str | None = None,
        min_percentile: float | None = None,
    ) -> list[list[Hit]]:
        """The answers to many queries in one call; see ``search``."""

    @abstractmethod
    def previews(self, hits: Sequence[Hit]) -> list[Preview]:
        """What this searcher's hits are, to be looked at: captions, small pictures, sounds and videos."""

    def search(
        self,
        *,
        text: Any = None,
        image: Any = None,
        audio: Any = None,
        video: Any = None,
        id: Any = None,  # noqa: A002 - the public face's name
        vector: Any = None,
        to: str | None = None,
        k: int = 10,
        where: str | None = None,
        min_percentile: float | None = None,
        combine: str | None = None,
    ) -> Hits:
        """The ``k`` assets nearest to a query of one or more terms, as in ``Query``.

        Args:
            text: words.
            image: a path, ``bytes`` or a ``PIL.Image.Image``.
            audio: a path or ``bytes``.
            video: a path or ``bytes``.
            id: an item of the index, for more like it; the item itself is not among the hits.
            vector: (d,) float32 in the aligned space.
            to: the modality to find, ``"any"``, or ``"item"`` for whole items by all that they have (of an index made
                with a fusion); may be left out when the index has one other modality
                and ``combine`` is None.
            k: at most this many hits.
            where: a filter on metadata, for instance ``"year > 2000 and place = 'Oslo'"``.
            min_percentile: only hits whose score is above that many of a hundred scores between things that have
                nothing to do with each other; 99.9, for instance, so that there may be none.
            combine: search each term by itself and join the rankings, by ``"rrf"`` (sums of reciprocal ranks) or
                ``"zscore"`` (sums of standardised scores); the terms' weighted sum is searched when None.

        Returns:
            Hits, best first; ties by item id. A list, which notebooks show as pictures, captions and players.

        Raises:
            OptionError: an argument has an unusable value.
            MediaError: a query file cannot be decoded.
            ExpressionError: ``where`` does not parse.
            UnknownItemError: there is no item ``id``.
        """
        query = Query(text=text, image=image, audio=audio, video=video, id=id, vector=vector)
        if combine is not None:
            joined = search_and_fuse(
                self.search_batch, query, way=combine, to=to, k=k, where=where, min_percentile=min_percentile
            )
            return Hits(joined, self.previews)
        found = self.search_batch([query], to=to, k=k, where=where, min_percentile=min_percentile)
        return Hits(found[0], self.previews)

    text_to_text = pair(Modality.TEXT, Modality.TEXT)
    text_to_image = pair(Modality.TEXT, Modality.IMAGE)
    text_to_audio = pair(Modality.TEXT, Modality.AUDIO)
    text_to_video = pair(Modality.TEXT, Modality.VIDEO)
    image_to_text = pair(Modality.IMAGE, Modality.TEXT)
    image_to_image = pair(Modality.IMAGE, Modality.IMAGE)
    image_to_audio = pair(Modality.IMAGE, Modality.AUDIO)
    image_to_video = pair(Modality.IMAGE, Modality.VIDEO)
    audio_to_text = pair(Modality.AUDIO, Modality.TEXT)
    audio_to_image = pair(Modality.AUDIO, Modality.IMAGE)
    audio_to_audio = pair(Modality.AUDIO, Modality.AUDIO)
    audio_to_video = pair(Modality.AUDIO, Modality.VIDEO)
    video_to_text = pair(Modality.VIDEO, Modality.TEXT)
    video_to_image = pair(Modality.VIDEO, Modality.IMAGE)
    video_to_audio = pair(Modality.VIDEO, Modality.AUDIO)
    video_to_video = pair(Modality.VIDEO, Modality.VIDEO)
