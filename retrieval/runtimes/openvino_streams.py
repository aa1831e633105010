"""Run batches on the CPU with OpenVINO, several at a time, each in its own stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

from retrieval.runtimes import device

Task = TypeVar("Task")


def compile_model(core: Any, model: Any, *, streams: int, precision: str) -> Any:
    """Compile ``model`` for the CPU with ``streams`` streams that share its cores.

    Args:
        core: an ``openvino.Core``.
        model: an ``openvino.Model``.
        streams: number of streams; a single one uses all cores.
        precision: OpenVINO's name of the precision.
    """
    # Threads are not pinned to cores: decoding threads and other programs need cores too.
    options = {
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": device.cores(),
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": precision,
    }
    return core.compile_model(model, "CPU", options)


def run_in_order(
    requests: Iterable[Any], tasks: Iterable[Task], start: Callable[[Any, Task], None]
) -> Generator[tuple[Any, Task], None, None]:
    """Yield each of ``tasks``, in order, with the request that computed it; its result is valid until the next one.

    No Python code runs in a stream's thread: it would wait for the lock held by a thread that drops the network, while
    that thread waits for the stream.

    Args:
        requests: requests of one compiled network, best twice as many as it has streams, so that no stream waits for
            Python to start its next batch.
        tasks: read only as far as there are free requests.
        start: starts a request on a task; its arrays may be read in place.
    """
    idle, started = deque(requests), deque[tuple[Any, Task]]()

    def next_done() -> tuple[Any, Task]:
        request, _ = started[0]
        request.wait()
        idle.append(request)
        return started.popleft()

    try:
        for task in tasks:
            request = idle.popleft()
            start(request, task)
            started.append((request, task))
            if not idle:
                yield next_done()
        while started:
            yield next_done()
    finally:
        for request, _ in started:  # arrays that are read in place must stay alive until then
            request.wait()
