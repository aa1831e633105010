"""The threads that decode, encode, search and draw, apart from each other, and how many may wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from retrieval.server.batching import Gate
from retrieval.types import Modality

Out = TypeVar("Out")


class BoundedPool:
    """Threads for one kind of work; who finds too many waiting is refused."""

    def __init__(self, name: str, threads: int, *, waiting: int) -> None:
        self.threads = ThreadPoolExecutor(threads, name)
        self.gate = Gate(threads, waiting=waiting)

    async def __call__(self, work: Callable[[], Out]) -> Out:
        """What ``work`` gives.

        Raises:
            BusyError: too many wait already.
        """
        async with self.gate:
            return await self.inside(work)

    async def inside(self, work: Callable[[], Out]) -> Out:
        """What ``work`` gives, for who is inside the gate already."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)


class ThreadPools:
    """All threads of a server. They outlive the generations that it answers from."""

    def __init__(self) -> None:
        self.decoding = {modality: BoundedPool(f"decode-{modality}", 2, waiting=32) for modality in Modality}
        self.encoding = {modality: ThreadPoolExecutor(1, f"encode-{modality}") for modality in Modality}
        self.searching = ThreadPoolExecutor(1, "search")
        self.filtering = ThreadPoolExecutor(1, "search-filtered")
        self.drawing = BoundedPool("draw", 2, waiting=256)
        self.reading = BoundedPool("read", 4, waiting=256)
        self.evaluating = BoundedPool("evaluate", 1, waiting=0)

    def close(self) -> None:
        """Let go of them; what is under way ends by itself."""
        pools = [*self.decoding.values(), self.drawing, self.reading, self.evaluating]
        for threads in (
            *(pool.threads for pool in pools),
            *self.encoding.values(),
            self.searching,
            self.filtering,
        ):
            threads.shutdown(wait=False, cancel_futures=True)
