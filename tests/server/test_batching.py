"""What comes in together is worked off together, and not too much of it waits."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from retrieval.errors import BusyError
from retrieval.server.batching import Batcher, Gate


class Work:
    """Doubles numbers, keeps the batches it was given, and waits for a sign before each but the first."""

    def __init__(self):
        self.batches = []
        self.go_on = threading.Semaphore(0)

    def __call__(self, numbers):
        self.batches.append(list(numbers))
        self.go_on.acquire()
        return [ValueError(number) if number < 0 else 2 * number for number in numbers]


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def thread():
    with ThreadPoolExecutor(1) as pool:
        yield pool


async def begun(batcher, work, numbers, *, batches=1):
    """The requests under way, as soon as so many batches have begun."""
    tasks = [asyncio.create_task(batcher(number)) for number in numbers]
    while len(work.batches) < batches:
        await asyncio.sleep(0.001)
    return tasks


async def ended(work, *tasks):
    while not all(task.done() for task in tasks):
        work.go_on.release()
        await asyncio.sleep(0.001)


def test_a_batch_gathers_while_another_is_worked_on(work, thread):
    async def main():
        sizes = []
        batcher = Batcher(work, thread, most=4, waiting=100, seen=sizes.append)
        first = await begun(batcher, work, [0])
        others = [asyncio.create_task(batcher(number)) for number in range(1, 8)]
        await asyncio.sleep(0)
        await ended(work, *first, *others)
        assert [task.result() for task in first + others] == [2 * number for number in range(8)]
        assert work.batches == [[0], [1, 2, 3, 4], [5, 6, 7]]
        assert sizes == [1, 4, 3]

    asyncio.run(main())


def test_an_error_goes_to_who_asked_for_it(work, thread):
    async def main():
        batcher = Batcher(work, thread, most=4, waiting=100)
        tasks = await begun(batcher, work, [1, -1, 3])
        await ended(work, *tasks)
        good, bad, last = await asyncio.gather(*tasks, return_exceptions=True)
        assert (good, last) == (2, 6)
        assert isinstance(bad, ValueError)

    asyncio.run(main())


def test_an_error_of_the_work_itself_goes_to_all_and_the_next_batch_runs(thread):
    def work(numbers):
        if 0 in numbers:
            raise RuntimeError("broken")
        return numbers

    async def main():
        batcher = Batcher(work, thread, most=4, waiting=100)
        broken = await asyncio.gather(batcher(0), batcher(1), return_exceptions=True)
        assert [str(error) for error in broken] == ["broken", "broken"]
        assert await batcher(5) == 5

    asyncio.run(main())


def test_too_many_that_wait_are_refused(work, thread):
    async def main():
        batcher = Batcher(work, thread, most=1, waiting=2)
        tasks = await begun(batcher, work, [0])
        tasks += [asyncio.create_task(batcher(number)) for number in (1, 2)]
        await asyncio.sleep(0)
        assert len(batcher) == 2
        with pytest.raises(BusyError, match="2 requests are waiting"):
            await batcher(3)
        await ended(work, *tasks)
        assert [task.result() for task in tasks] == [0, 2, 4]

    asyncio.run(main())


def test_who_is_gone_costs_nothing(work, thread):
    async def main():
        batcher = Batcher(work, thread, most=4, waiting=100)
        tasks = await begun(batcher, work, [0])
        gone = asyncio.create_task(batcher(1))
        tasks.append(asyncio.create_task(batcher(2)))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        await ended(work, *tasks)
        assert work.batches == [[0], [2]]

    asyncio.run(main())


def test_a_gate_lets_some_in_and_some_wait():
    async def main():
        gate, leave, inside = Gate(2, waiting=1), asyncio.Event(), []

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
