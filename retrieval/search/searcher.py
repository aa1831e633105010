"""The search interface shared by an engine over an index folder and the client of a server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, overload

from retrieval.search.hits import Hits
from retrieval.search.rank_fusion import search_and_fuse
from retrieval.types import Hit, Modality, Query

if TYPE_CHECKING:
    from retrieval.display.previews import Preview


class PairSearch(Protocol):
    """A search from one modality to another."""

    def __call__(
        self, query: Any, k: int = 10, *, where: str | None = None, min_percentile: float | None = None
    ) -> Hits:
        """Return the ``k`` assets nearest to ``query``; see ``SearchEngine.search``."""
        ...


class PairMethod:
    """A method that searches one modality with a query of another, for example ``text_to_image``."""

    def __init__(self, query: Modality, target: Modality) -> None:
        self._query, self._target = query, target
        self.__doc__ = f"Return the {target} assets nearest to a {query} query; see ``search``."

    @overload
    def __get__(self, searcher: None, owner: type) -> Self: ...

    @overload
    def __get__(self, searcher: Searcher, owner: type) -> PairSearch: ...

    def __get__(self, searcher: Searcher | None, owner: type) -> Self | PairSearch:
        """Return the search, bound to a searcher."""
        if searcher is None:
            return self

        def search(
            query: Any, k: int = 10, *, where: str | None = None, min_percentile: float | None = None
        ) -> Hits:
            answers = searcher.search_batch(
                [Query(**{self._query: query})],
                to=self._target,
                k=k,
                where=where,
                min_percentile=min_percentile,
            )
            return Hits(answers[0], searcher.previews)

        search.__doc__ = self.__doc__
        return search


class Searcher(ABC):
    """All forms of search, based on one method that searches many queries in one call."""

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
        """Return the hits of many queries in one call; see ``search``."""

    @abstractmethod
    def previews(self, hits: Sequence[Hit]) -> list[Preview]:
        """Return previews of this searcher's hits: captions, small pictures, sounds and videos."""

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
        """Return the ``k`` assets nearest to a query of one or more terms, as in ``Query``.

        Args:
            text: words.
            image: a path, ``bytes`` or a ``PIL.Image.Image``.
            audio: a path or ``bytes``.
            video: a path or ``bytes``.
            id: an item of the index, to find similar ones; the item itself is not among the hits.
            vector: (d,) float32 in the aligned space.
            to: the modality to find, ``"any"``, or ``"item"`` for whole items, fused from all their assets (the index
                must have a fusion). May be None if the index has one modality other than the query's and ``combine`` is
                None.
            k: maximum number of hits.
            where: a filter on metadata, for instance ``"year > 2000 and place = 'Oslo'"``.
            min_percentile: only hits whose score is above this percentile of the scores of unrelated pairs, for
                instance 99.9. There may be no hits.
            combine: search each term separately and fuse the rankings: by ``"rrf"`` (sums of reciprocal ranks) or
                ``"zscore"`` (sums of standardised scores). When None, search the terms' weighted sum.

        Returns:
            Hits, best first; ties by item id. A list that notebooks show with pictures, captions and players.

        Raises:
            OptionError: an argument has an invalid value.
            MediaError: a query file cannot be decoded.
            ExpressionError: ``where`` does not parse.
            UnknownItemError: there is no item ``id``.
        """
        query = Query(text=text, image=image, audio=audio, video=video, id=id, vector=vector)
        if combine is not None:
            fused = search_and_fuse(
                self.search_batch,
                query,
                method=combine,
                to=to,
                k=k,
                where=where,
                min_percentile=min_percentile,
            )
            return Hits(fused, self.previews)
        answers = self.search_batch([query], to=to, k=k, where=where, min_percentile=min_percentile)
        return Hits(answers[0], self.previews)

    text_to_text = PairMethod(Modality.TEXT, Modality.TEXT)
    text_to_image = PairMethod(Modality.TEXT, Modality.IMAGE)
    text_to_audio = PairMethod(Modality.TEXT, Modality.AUDIO)
    text_to_video = PairMethod(Modality.TEXT, Modality.VIDEO)
    image_to_text = PairMethod(Modality.IMAGE, Modality.TEXT)
    image_to_image = PairMethod(Modality.IMAGE, Modality.IMAGE)
    image_to_audio = PairMethod(Modality.IMAGE, Modality.AUDIO)
    image_to_video = PairMethod(Modality.IMAGE, Modality.VIDEO)
    audio_to_text = PairMethod(Modality.AUDIO, Modality.TEXT)
    audio_to_image = PairMethod(Modality.AUDIO, Modality.IMAGE)
    audio_to_audio = PairMethod(Modality.AUDIO, Modality.AUDIO)
    audio_to_video = PairMethod(Modality.AUDIO, Modality.VIDEO)
    video_to_text = PairMethod(Modality.VIDEO, Modality.TEXT)
    video_to_image = PairMethod(Modality.VIDEO, Modality.IMAGE)
    video_to_audio = PairMethod(Modality.VIDEO, Modality.AUDIO)
    video_to_video = PairMethod(Modality.VIDEO, Modality.VIDEO)
