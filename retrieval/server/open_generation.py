"""One generation of an index, opened and warmed up, with everything the server needs to answer from it."""

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
    """A query whose texts and files are already encoded as vectors."""

    query: Query
    to: str
    k: int
    where: str | None
    min_percentile: float | None = None

    @property
    def batch_key(self) -> tuple[str, int, str, float]:
        """Requests with the same key can be searched in one call."""
        return self.to, self.k, self.where or "", -1 if self.min_percentile is None else self.min_percentile


class OpenGeneration:
    """An opened generation. Everything is read when it is opened, so that no request waits for it."""

    def __init__(
        self, engine: SearchEngine, *, roots: Sequence[Path], pools: ThreadPools, metrics: Metrics
    ) -> None:
        """Read everything that ``engine`` would otherwise read on first use.

        Raises:
            XmodalError: a part of it cannot be opened.
        """
        self.engine = engine
        self.info = index_info.describe_index(self.engine)
        self.sources = AssetFiles(self.engine.manifest.sources, roots)
        for target in self.engine.manifest.targets:
            self.engine.index.modality_index(target)
        if self.engine.manifest.items:
            _ = self.engine.index.fusion
        self.engine.index.space.warm()
        self._encode_queues: Mapping[Modality, EncodeQueue] = {
            modality: EncodeQueue(self.engine.index.space, modality, pools, metrics)
            for modality in self.engine.manifest.encoders
        }
        record_size = metrics.batches.labels("search").observe
        self._unfiltered = Batcher(
            self._search, pools.searching, max_batch=64, max_waiting=256, on_batch=record_size
        )
        # A filter reads the catalog: requests without a filter do not wait for that.
        self._filtered = Batcher(
            self._search, pools.filtering, max_batch=64, max_waiting=256, on_batch=record_size
        )
        self._users, self._retired = 0, False

    @property
    def generation(self) -> int:
        """Number of the generation."""
        return self.engine.manifest.generation

    def encode_queue(self, modality: Modality) -> EncodeQueue:
        """Return the queue that encodes queries of a modality.

        Raises:
            OptionError: the index has no encoder for this modality.
        """
        self.engine.index.space.encoder(modality)
        return self._encode_queues[modality]

    async def search(self, request: SearchRequest) -> list[Hit]:
        """Return the hits; the request is searched in one batch with others that arrive meanwhile.

        Raises:
            XmodalError: as ``SearchEngine.search``; ``BusyError`` if too many requests are waiting already.
        """
        return await (self._unfiltered if request.where is None else self._filtered)(request)

    def _search(self, requests: Sequence[SearchRequest]) -> list[list[Hit] | Exception]:
        outcomes: dict[int, list[Hit] | Exception] = {}
        order = sorted(range(len(requests)), key=lambda at: requests[at].batch_key)
        for _, group in groupby(order, key=lambda at: requests[at].batch_key):
            places = list(group)
            results = self._search_group([requests[at] for at in places])
            outcomes |= dict(zip(places, results, strict=True))
        return [outcomes[at] for at in range(len(requests))]

    def _search_group(self, requests: Sequence[SearchRequest]) -> list[list[Hit] | Exception]:
        """Search requests that have the same batch key in one call."""
        first = requests[0]
        try:
            results = self.engine.search_batch(
                [request.query for request in requests],
                to=first.to,
                k=first.k,
                where=first.where,
                min_percentile=first.min_percentile,
            )
        except XmodalError as error:
            if len(requests) == 1:
                return [error]
        else:
            return [*results]
        # Search one by one, so that only the wrong requests fail, not the whole batch.
        return [self._search_group([request])[0] for request in requests]

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the generation open until the end of the block. Only in the event loop's thread."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            self._close_if_unused()

    def retire(self) -> None:
        """Close the generation as soon as no request uses it any more."""
        self._retired = True
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._retired and not self._users:
            self.engine.index.catalog.close()
