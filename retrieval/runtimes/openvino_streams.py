"""Run batches on the CPU with OpenVINO, several at a time, each in its own stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

from retrieval.runtimes import device

Work = TypeVar("Work")


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
    requests: Iterable[Any], works: Iterable[Work], start: Callable[[Any, Work], None]
) -> Generator[tuple[Any, Work], None, None]:
    """Yield each of ``works``, in order, with the request that computed it; its result is valid until the next one.

    No Python code runs in a stream's thread: it would wait for the lock held by a thread that drops the network, while
    that thread waits for the stream.

    Args:
        requests: requests of one compiled network, best twice as many as it has streams, so that no stream waits for
            Python to start its next batch.
        works: read only as far as there are free requests.
        start: starts a request on a work; its arrays may be read in place.
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
        for request, _ in started:  # arrays that are read in place must stay alive until then
            request.wait()
