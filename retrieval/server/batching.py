"""Requests that arrive together are worked off together, and only so many may wait."""

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
    """Hands what has come in to a function that works on many at once, in a thread.

    While a batch is worked on, the next one gathers: a lone request never waits for company, and under load
    batches are as large as the work is slow. Belongs to the event loop that first calls it.
    """

    def __init__(
        self,
        work: Callable[[Sequence[In]], Sequence[Out | Exception]],
        thread: Executor,
        *,
        most: int,
        waiting: int,
        seen: Callable[[int], object] = lambda _: None,
    ) -> None:
        """Nothing runs until the first call.

        Args:
            work: gives as many outcomes as it is given things; an exception is raised to who asked.
            thread: where it runs; one batch at a time.
            most: things in a batch.
            waiting: things that may wait for their batch; one more is refused.
            seen: told of each batch's size.
        """
        self._work, self._thread, self._most, self._bound, self._seen = work, thread, most, waiting, seen
        self._waiting: deque[tuple[In, asyncio.Future[Out]]] = deque()
        self._drain: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def __call__(self, thing: In) -> Out:
        """What the work makes of ``thing``.

        Raises:
            BusyError: too many wait already.
        """
        if len(self._waiting) >= self._bound:
            raise BusyError(f"{self._bound} requests are waiting already: ask again in a moment")
        outcome: asyncio.Future[Out] = asyncio.get_running_loop().create_future()
        self._waiting.append((thing, outcome))
        if self._drain is None or self._drain.done():
            self._drain = asyncio.create_task(self._run())
        return await outcome

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            batch = [(thing, outcome) for thing, outcome in batch if not outcome.done()]  # who asked is gone
            if not batch:
                continue
            self._seen(len(batch))
            try:
                found = await loop.run_in_executor(self._thread, self._work, [thing for thing, _ in batch])
            except Exception as error:  # handed to everybody who waits for it
                found = [error] * len(batch)
            for (_, outcome), each in zip(batch, found, strict=True):
                if outcome.done():
                    continue
                if isinstance(each, Exception):
                    outcome.set_exception(each)
                else:
                    outcome.set_result(each)


class Gate:
    """Lets so many through at a time, lets some more wait, and refuses the others."""

    def __init__(self, most: int, *, waiting: int) -> None:
        self._slots = asyncio.Semaphore(most)
        self._bound = most + waiting
        self._inside = 0

    async def __aenter__(self) -> None:
        if self._inside >= self._bound:
            raise BusyError(f"{self._bound} requests of this kind are under way: ask again in a moment")
        self._inside += 1
        try:
            await self._slots.acquire()
        except BaseException:
            self._inside -= 1
            raise

    async def __aexit__(self, *_: object) -> None:
        self._inside -= 1
        self._slots.release()
