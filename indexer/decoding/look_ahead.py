"""Bounded look-ahead: threads compute results in order, a limited number ahead of the consumer."""

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
    """Yield each work with ``function(work)``, in order; at most ``depth`` are started and not yet consumed.

    A ``MediaError`` is yielded in place of the result; any other exception is raised here.
    """
    remaining = iter(works)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="xmodal")
    started: deque[tuple[Work, Future[Result]]] = deque()
    try:
        started.extend((work, pool.submit(function, work)) for work in islice(remaining, depth))
        while started:
            work, future = started.popleft()
            try:
                outcome: Result | MediaError = future.result()
            except MediaError as error:
                outcome = error
            started.extend((more, pool.submit(function, more)) for more in islice(remaining, 1))
            yield work, outcome
    finally:
        # Do not wait: when a job is interrupted, a running thread may have a minute of decoding left.
        pool.shutdown(wait=False, cancel_futures=True)
