"""Process concurrent requests in batches, and limit how many may wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from retrieval.errors import BusyError

In = TypeVar("In")
Out = TypeVar("Out")


class Batcher(Generic[In, Out]):
    """Collects requests into batches and passes each batch to a function that runs in a thread.

    While one batch is processed, the next one collects. So a single request never waits for others, and under
    load batches grow with the time that one takes. Belongs to the event loop that first calls it.
    """

    def __init__(
        self,
        process: Callable[[Sequence[In]], Sequence[Out | Exception]],
        executor: Executor,
        *,
        max_batch: int,
        max_waiting: int,
        on_batch: Callable[[int], object] = lambda _: None,
    ) -> None:
        """Nothing runs until the first call.

        Args:
            process: takes a batch and returns one outcome for each request; an exception is raised to its caller.
            executor: where ``process`` runs; one batch at a time.
            max_batch: maximum number of requests in a batch.
            max_waiting: maximum number of requests that wait for their batch; one more is refused.
            on_batch: called with the size of each batch.
        """
        self._process, self._executor, self._on_batch = process, executor, on_batch
        self._max_batch, self._max_waiting = max_batch, max_waiting
        self._waiting: deque[tuple[In, asyncio.Future[Out]]] = deque()
        self._drain: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def __call__(self, request: In) -> Out:
        """Return the outcome of ``request``.

        Raises:
            BusyError: too many requests are waiting already.
        """
        if len(self._waiting) >= self._max_waiting:
            raise BusyError(f"{self._max_waiting} requests are waiting already: retry in a moment")
        outcome: asyncio.Future[Out] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, outcome))
        if self._drain is None or self._drain.done():
            self._drain = asyncio.create_task(self._run())
        return await outcome

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))]
            # Skip requests whose client has disconnected.
            batch = [(request, outcome) for request, outcome in batch if not outcome.done()]
            if not batch:
                continue
            self._on_batch(len(batch))
            requests = [request for request, _ in batch]
            try:
                results = await loop.run_in_executor(self._executor, self._process, requests)
            except Exception as error:  # raised to every caller of the batch
                results = [error] * len(batch)
            for (_, outcome), result in zip(batch, results, strict=True):
                if outcome.done():
                    continue
                if isinstance(result, Exception):
                    outcome.set_exception(result)
                else:
                    outcome.set_result(result)


class Gate:
    """Lets a limited number through at a time, lets some more wait, and refuses the others."""

    def __init__(self, slots: int, *, max_waiting: int) -> None:
        self._slots = asyncio.Semaphore(slots)
        self._limit = slots + max_waiting
        self._inside = 0

    async def __aenter__(self) -> None:
        if self._inside >= self._limit:
            raise BusyError(f"{self._limit} requests of this kind are in progress: retry in a moment")
        self._inside += 1
        try:
            await self._slots.acquire()
        except BaseException:
            self._inside -= 1
            raise

    async def __aexit__(self, *_: object) -> None:
        self._inside -= 1
        self._slots.release()
