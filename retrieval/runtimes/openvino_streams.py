"""Networks that OpenVINO runs on the processor, several at once, each in a stream of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

from retrieval.runtimes import device

Work = TypeVar("Work")


def compile_model(core: Any, model: Any, *, streams: int, precision: str) -> Any:
    """``model`` compiled for the processor, in as many streams that share its cores.

    Args:
        core: an ``openvino.Core``.
        model: what it compiles.
        streams: 1 has all the cores.
        precision: OpenVINO's name of it.
    """
    # Threads are not tied to cores: those that decode, and other programs, want some too.
    options = {
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": device.cores(),
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": precision,
    }
    return core.compile_model(model, "CPU", options)


def run_in_order(
    requests: Iterable[Any], works: Iterable[Work], start: Callable[[Any, Work], None]
) -> Generator[tuple[Any, Work], None, None]:
    """Each of ``works`` with the request that has done it, in their order; until the next is asked for it is kept.

    Nothing of Python's is called in a stream's thread, which would wait for the lock of whoever drops the network, and
    that for the thread.

    Args:
        requests: of one compiled network, best twice as many as it has streams: none then waits for Python to give it
            the next.
        works: read as far as there are requests for them.
        start: has a request begin with a work, whose arrays may be read where they are.
    """
    idle, started = deque(requests), deque[tuple[Any, Work]]()

    def taken() -> tuple[Any, Work]:
        request, _ = started[0]
        request.wait()
        idle.append(request)
        return started.popleft()

    try:
        for work in works:
            request = idle.popleft()
            start(request, work)
            started.append((request, work))
            if not idle:
                yield taken()
        while started:
            yield taken()
    finally:
        for request, _ in started:  # what is read where it lies has to stay until it was
            request.wait()
