"""Batching of concurrent requests, and the limit on waiting ones."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from retrieval.errors import BusyError
from retrieval.server.batching import Batcher, Gate


class Work:
    """Doubles numbers; records its batches, and waits for a permit before it returns each of them."""

    def __init__(self):
        self.batches = []
        self.permits = threading.Semaphore(0)

    def __call__(self, numbers):
        self.batches.append(list(numbers))
        self.permits.acquire()
        return [ValueError(number) if number < 0 else 2 * number for number in numbers]


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def thread():
    with ThreadPoolExecutor(1) as pool:
        yield pool


async def start_requests(batcher, work, numbers, *, batches=1):
    """Start a request for each number; return the tasks once this many batches have started."""
    tasks = [asyncio.create_task(batcher(number)) for number in numbers]
    while len(work.batches) < batches:
        await asyncio.sleep(0.001)
    return tasks


async def finish(work, *tasks):
    while not all(task.done() for task in tasks):
        work.permits.release()
        await asyncio.sleep(0.001)


def test_next_batch_collects_while_one_is_processed(work, thread):
    async def main():
        sizes = []
        batcher = Batcher(work, thread, max_batch=4, max_waiting=100, on_batch=sizes.append)
        first = await start_requests(batcher, work, [0])
        others = [asyncio.create_task(batcher(number)) for number in range(1, 8)]
        await asyncio.sleep(0)
        await finish(work, *first, *others)
        assert [task.result() for task in first + others] == [2 * number for number in range(8)]
        assert work.batches == [[0], [1, 2, 3, 4], [5, 6, 7]]
        assert sizes == [1, 4, 3]

    asyncio.run(main())


def test_error_is_raised_to_its_own_caller(work, thread):
    async def main():
        batcher = Batcher(work, thread, max_batch=4, max_waiting=100)
        tasks = await start_requests(batcher, work, [1, -1, 3])
        await finish(work, *tasks)
        good, bad, last = await asyncio.gather(*tasks, return_exceptions=True)
        assert (good, last) == (2, 6)
        assert isinstance(bad, ValueError)

    asyncio.run(main())


def test_failed_batch_raises_to_all_callers_and_the_next_one_runs(thread):
    def work(numbers):
        if 0 in numbers:
            raise RuntimeError("broken")
        return numbers

    async def main():
        batcher = Batcher(work, thread, max_batch=4, max_waiting=100)
        broken = await asyncio.gather(batcher(0), batcher(1), return_exceptions=True)
        assert [str(error) for error in broken] == ["broken", "broken"]
        assert await batcher(5) == 5

    asyncio.run(main())


def test_requests_over_the_waiting_limit_are_refused(work, thread):
    async def main():
        batcher = Batcher(work, thread, max_batch=1, max_waiting=2)
        tasks = await start_requests(batcher, work, [0])
        tasks += [asyncio.create_task(batcher(number)) for number in (1, 2)]
        await asyncio.sleep(0)
        assert len(batcher) == 2
        with pytest.raises(BusyError, match="2 requests are waiting"):
            await batcher(3)
        await finish(work, *tasks)
        assert [task.result() for task in tasks] == [0, 2, 4]

    asyncio.run(main())


def test_cancelled_request_is_not_processed(work, thread):
    async def main():
        batcher = Batcher(work, thread, max_batch=4, max_waiting=100)
        tasks = await start_requests(batcher, work, [0])
        gone = asyncio.create_task(batcher(1))
        tasks.append(asyncio.create_task(batcher(2)))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        await finish(work, *tasks)
        assert work.batches == [[0], [2]]

    asyncio.run(main())


def test_gate_admits_some_lets_some_wait_and_refuses_the_rest():
    async def main():
        gate, leave, inside = Gate(2, max_waiting=1), asyncio.Event(), []

        async def visit(name):
            async with gate:
                inside.append(name)
                await leave.wait()

        tasks = [asyncio.create_task(visit(name)) for name in "abc"]
        await asyncio.sleep(0.001)
        assert inside == ["a", "b"]
        with pytest.raises(BusyError, match="3 requests of this kind"):
            await visit("d")
        leave.set()
        await asyncio.gather(*tasks)
        await visit("e")
        assert inside == ["a", "b", "c", "e"]

    asyncio.run(main())
