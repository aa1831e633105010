"""What every address of a server shares."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from retrieval.server.disk_cache import Cache
from retrieval.server.prometheus import Metrics
from retrieval.server.reloading import Library
from retrieval.server.thread_pools import Workers


@dataclass(frozen=True, slots=True)
class Service:
    """One server's state.

    Attributes:
        library: the open generation.
        workers: its threads.
        metrics: its figures.
        cache: thumbnails.
    """

    library: Library
    workers: Workers
    metrics: Metrics
    cache: Cache

    @classmethod
    def of(cls, request: Request) -> Service:
        """That of the server a request came to."""
        service: Service = request.app.state.service
        return service
