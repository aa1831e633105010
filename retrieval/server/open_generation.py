"""One generation of an index, opened and warm, with all that a server asks of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from retrieval.errors import XmodalError
from retrieval.search.engine import SearchEngine
from retrieval.server import index_info
from retrieval.server.batching import Batcher
from retrieval.server.encode_queue import EncodeQueue
from retrieval.server.prometheus import Metrics
from retrieval.server.thread_pools import ThreadPools
from retrieval.storage.asset_files import AssetFiles
from retrieval.types import Hit, Modality, Query


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A query whose media are vectors already."""

    query: Query
    to: str
    k: int
    where: str | None
    min_percentile: float | None = None

    @property
    def alike(self) -> tuple[str, int, str, float]:
        """What queries must share to be searched in one call."""
        return self.to, self.k, self.where or "", -1 if self.min_percentile is None else self.min_percentile


class OpenGeneration:
    """Everything is read at once, so that no request waits for it."""

    def __init__(
        self, engine: SearchEngine, *, roots: Sequence[Path], workers: ThreadPools, metrics: Metrics
    ) -> None:
        """Read all that ``engine`` reads when it is first needed.

        Raises:
            XmodalError: something of it cannot be opened.
        """
        self.engine = engine
        self.info = index_info.index(self.engine)
        self.sources = AssetFiles(self.engine.manifest.sources, roots)
        for target in self.engine.manifest.targets:
            self.engine.index.modality_index(target)
        if self.engine.manifest.items:
            _ = self.engine.index.fusion
        self.engine.index.space.warm()
        self.lanes: Mapping[Modality, EncodeQueue] = {
            modality: EncodeQueue(self.engine.index.space, modality, workers, metrics)
            for modality in self.engine.manifest.encoders
        }
        sizes = metrics.batches.labels("search").observe
        self._plain = Batcher(self._search, workers.searching, most=64, waiting=256, seen=sizes)
        # A filter reads the catalog: those without one do not wait for that.
        self._filtered = Batcher(self._search, workers.filtering, most=64, waiting=256, seen=sizes)
        self._users, self._retired = 0, False

    @property
    def generation(self) -> int:
        """Its number."""
        return self.engine.manifest.generation

    def lane(self, modality: Modality) -> EncodeQueue:
        """Where queries of a modality are encoded.

        Raises:
            OptionError: the index cannot be asked by it.
        """
        self.engine.index.space.encoder(modality)
        return self.lanes[modality]

    async def search(self, ask: SearchRequest) -> list[Hit]:
        """The hits, searched together with the other queries that came in meanwhile.

        Raises:
            XmodalError: as ``SearchEngine.search``; ``BusyError`` if too many wait already.
        """
        return await (self._plain if ask.where is None else self._filtered)(ask)

    def _search(self, asks: Sequence[SearchRequest]) -> list[list[Hit] | Exception]:
        outcomes: dict[int, list[Hit] | Exception] = {}
        order = sorted(range(len(asks)), key=lambda at: asks[at].alike)
        for _, group in groupby(order, key=lambda at: asks[at].alike):
            places = list(group)
            found = self._search_alike([asks[at] for at in places])
            outcomes |= dict(zip(places, found, strict=True))
        return [outcomes[at] for at in range(len(asks))]

    def _search_alike(self, asks: Sequence[SearchRequest]) -> list[list[Hit] | Exception]:
        first = asks[0]
        try:
            queries = [ask.query for ask in asks]
            found = self.engine.search_batch(
                queries, to=first.to, k=first.k, where=first.where, min_percentile=first.min_percentile
            )
        except XmodalError as error:
            if len(asks) == 1:
                return [error]
        else:
            return [*found]
        # Only those that are wrong fail, not all that came with them.
        return [self._search_alike([ask])[0] for ask in asks]

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep it open to the end of the block. In the event loop's thread alone."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            self._close_if_done()

    def retire(self) -> None:
        """Close it as soon as nobody uses it any more."""
        self._retired = True
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._retired and not self._users:
            self.engine.index.catalog.close()
