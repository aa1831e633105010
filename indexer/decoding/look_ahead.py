"""Work done ahead of whoever takes its results, in threads, in order, and only so far ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from retrieval.errors import MediaError

Work = TypeVar("Work")
Result = TypeVar("Result")


def ahead(
    function: Callable[[Work], Result], works: Iterable[Work], *, workers: int, depth: int
) -> Iterator[tuple[Work, Result | MediaError]]:
    """``function`` of each work, in order, at most ``depth`` of them started and not yet taken.

    A ``MediaError`` is handed on in the place of the result; anything else is raised here.
    """
    waiting = iter(works)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="xmodal")
    started: deque[tuple[Work, Future[Result]]] = deque()
    try:
        started.extend((work, pool.submit(function, work)) for work in islice(waiting, depth))
        while started:
            work, future = started.popleft()
            try:
                outcome: Result | MediaError = future.result()
            except MediaError as error:
                outcome = error
            started.extend((more, pool.submit(function, more)) for more in islice(waiting, 1))
            yield work, outcome
    finally:
        # Not waited for: when a job is interrupted, what still runs may be a file that takes a minute.
        pool.shutdown(wait=False, cancel_futures=True)
