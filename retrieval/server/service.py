"""State that all routes of a server share."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from retrieval.server.disk_cache import DiskCache
from retrieval.server.prometheus import Metrics
from retrieval.server.reloading import ReloadingIndex
from retrieval.server.thread_pools import ThreadPools


@dataclass(frozen=True, slots=True)
class Service:
    """State of one server.

    Attributes:
        index: the index, with its current generation.
        pools: the server's threads.
        metrics: the server's metrics.
        thumbnails: cache of thumbnails.
    """

    index: ReloadingIndex
    pools: ThreadPools
    metrics: Metrics
    thumbnails: DiskCache

    @classmethod
    def of(cls, request: Request) -> Service:
        """Return the state of the server that received the request."""
        service: Service = request.app.state.service
        return service
