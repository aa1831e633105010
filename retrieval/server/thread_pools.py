"""Separate thread pools for decoding, encoding, searching and drawing, with limits on waiting requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from retrieval.server.batching import Gate
from retrieval.types import Modality

Out = TypeVar("Out")


class BoundedPool:
    """Threads for one kind of work; if too many requests are waiting, the next one is refused."""

    def __init__(self, name: str, threads: int, *, max_waiting: int) -> None:
        self.executor = ThreadPoolExecutor(threads, name)
        self.gate = Gate(threads, max_waiting=max_waiting)

    async def __call__(self, work: Callable[[], Out]) -> Out:
        """Return the result of ``work``.

        Raises:
            BusyError: too many requests are waiting already.
        """
        async with self.gate:
            return await self.run_inside_gate(work)

    async def run_inside_gate(self, work: Callable[[], Out]) -> Out:
        """Return the result of ``work``; for callers that have entered the gate already."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, work)


class ThreadPools:
    """All threads of a server. They are kept when the server switches to another generation."""

    def __init__(self) -> None:
        self.decoding = {
            modality: BoundedPool(f"decode-{modality}", 2, max_waiting=32) for modality in Modality
        }
        self.encoding = {modality: ThreadPoolExecutor(1, f"encode-{modality}") for modality in Modality}
        self.searching = ThreadPoolExecutor(1, "search")
        self.filtering = ThreadPoolExecutor(1, "search-filtered")
        self.drawing = BoundedPool("draw", 2, max_waiting=256)
        self.reading = BoundedPool("read", 4, max_waiting=256)
        self.evaluating = BoundedPool("evaluate", 1, max_waiting=0)

    def close(self) -> None:
        """Shut the pools down without waiting; running work finishes by itself."""
        pools = [*self.decoding.values(), self.drawing, self.reading, self.evaluating]
        for executor in (
            *(pool.executor for pool in pools),
            *self.encoding.values(),
            self.searching,
            self.filtering,
        ):
            executor.shutdown(wait=False, cancel_futures=True)
