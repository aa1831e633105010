"""What every address of a server shares."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from retrieval.server.disk_cache import DiskCache
from retrieval.server.prometheus import Metrics
from retrieval.server.reloading import ReloadingIndex
from retrieval.server.thread_pools import ThreadPools


@dataclass(frozen=True, slots=True)
class Service:
    """One server's state.

    Attributes:
        library: the open generation.
        workers: its threads.
        metrics: its figures.
        cache: thumbnails.
    """

    library: ReloadingIndex
    workers: ThreadPools
    metrics: Metrics
    cache: DiskCache

    @classmethod
    def of(cls, request: Request) -> Service:
        """That of the server a request came to."""
        service: Service = request.app.state.service
        return service
