"""Decoding in worker processes: a decoder that crashes, hangs or uses too much memory costs one file.

Each worker has its own socket and decodes one file at a time, so the waiting thread knows which file failed.
Pools whose workers share a queue can lose the task, or the whole pool, when a worker is killed at the wrong moment,
and ``multiprocessing`` runs the caller's main module in every child.

``pebble`` and ``loky`` were tried in place of this pool: loky fails innocent files; pebble leaves a hung worker behind
when the job is killed, and takes 2 to 11 times as long to hand over an array (docs/history/worker_pool.md).

This protects against accidents, not against malicious code in a file: a worker may read everything that the job may
read.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from indexer.decoding import fork_client, ipc
from indexer.decoding.media_file import MediaFile, prepare_file
from retrieval.errors import MediaError, WorkerError

MEMORY = 2**28
"""Bytes that each worker may use for a file. Files that need more are decoded one at a time."""

STARTING = 120.0
"""Seconds within which a worker must have loaded its encoder's ``prepare``."""

Decode = Callable[[MediaFile], Any]
"""Decodes a file for an encoder; raises MediaError if it cannot be decoded or exceeds a limit."""


@dataclass(frozen=True, slots=True)
class ResourceLimit:
    """Limits for decoding one file.

    Attributes:
        seconds: wall-clock time.
        memory: bytes for a file that needs more than ``MEMORY``; only one of these is decoded at a time.
    """

    seconds: float
    memory: int = 2**29


@contextmanager
def decoding(prepare: Callable[[Any], Any], limit: ResourceLimit, *, trusted: bool) -> Iterator[Decode]:
    """Decode files by an encoder's ``prepare`` in worker processes, or in the job itself if they are trusted.

    Args:
        prepare: must be picklable, unless ``trusted``.
        limit: limits for one file in a worker.
        trusted: decode in the job itself. A file that crashes or hangs its decoder then crashes or hangs the job.

    Raises:
        WorkerError: raised on decoding a file: no process can be started, or ``prepare`` cannot be sent to it.
    """
    if trusted:
        yield partial(prepare_file, prepare)
        return
    with WorkerPool(prepare, limit) as workers:
        yield workers.decode


class WorkerPool:
    """Worker processes on demand: each call of ``decode`` takes an idle one or starts another. Thread-safe."""

    def __init__(self, prepare: Callable[[Any], Any], limit: ResourceLimit, memory: int = MEMORY) -> None:
        self._prepare_function = prepare
        self._limit = limit
        self._memory = memory
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._closed = False
        self._lock = threading.Lock()
        self._large_file_lock = threading.Lock()

    @cached_property
    def _pickled_prepare(self) -> bytes:
        # Pickled with the first file: captions are never decoded here, and their encoder may not be picklable.
        try:
            return pickle.dumps(self._prepare_function)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise WorkerError(f"an encoder cannot be sent to a worker process: {error}") from error

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        """End all workers, including busy ones."""
        with self._lock:
            self._closed = True
            workers, self._all = self._all, set()
        for worker in workers:
            worker.end()

    def decode(self, medium: MediaFile) -> Any:
        """Decode ``medium`` in a worker process.

        Raises:
            MediaError: the medium cannot be decoded or exceeds a limit, or the pool is closed meanwhile.
            WorkerError: no worker process can be started.
        """
        try:
            return self._try(self._take(), medium, self._memory)
        except (_DiedError, MemoryError):
            pass  # too little memory, or something else killed the worker: try once more with more memory
        with self._large_file_lock:
            try:
                return self._try(self._new(), medium, self._limit.memory)
            except _DiedError as error:
                raise MediaError(f"the decoder crashed ({error})") from None
            except MemoryError:
                limit_mib = self._limit.memory // 2**20
                raise MediaError(
                    f"needs more than {limit_mib} MiB of memory: make the file smaller, or use --trusted"
                ) from None

    def _try(self, worker: _Worker, medium: MediaFile, memory: int) -> Any:
        is_reusable = False
        try:
            worker.start(self._pickled_prepare)
            outcome = worker.decode(medium, self._limit.seconds, memory)
            is_reusable = not isinstance(outcome, MemoryError)  # it may still hold memory of this file
        except (EOFError, OSError, WorkerError) as error:
            if self._closed:
                raise MediaError("the job has ended") from None
            if isinstance(error, WorkerError):
                raise
            raise _DiedError(worker.end()) from None
        finally:
            self._release(worker, is_reusable=is_reusable)
        if isinstance(outcome, MediaError | MemoryError):
            raise outcome
        return outcome

    def _take(self) -> _Worker:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._new()

    def _new(self) -> _Worker:
        with self._lock:
            if self._closed:
                raise MediaError("the job has ended")
            worker = _Worker()
            self._all.add(worker)
            return worker

    def _release(self, worker: _Worker, *, is_reusable: bool) -> None:
        with self._lock:
            if is_reusable and not self._closed:
                self._idle.append(worker)
                return
            self._all.discard(worker)
        worker.end()


class _DiedError(Exception):
    """A worker process died; the message says of which signal or exit status."""


class _Worker:
    """The job's end of one worker process."""

    def __init__(self) -> None:
        self._connection, worker_connection = socket.socketpair()
        with worker_connection:
            self._fork_server, self._process = fork_client.fork_worker(worker_connection)
        self._is_ready = False

    def __del__(self) -> None:
        self._connection.close()  # not in `end`: a thread may still wait for the answer of a worker that was ended

    def start(self, prepare: bytes) -> None:
        """Make the worker load an encoder's pickled ``prepare``, if it has not yet.

        Raises:
            WorkerError: the worker cannot load it.
        """
        if self._is_ready:
            return
        problem: str | None = f"it took longer than {STARTING:g} seconds"
        try:
            ipc.send_pickled(self._connection, prepare)
            if ipc.is_ready(self._connection, STARTING):
                problem = ipc.receive(self._connection)
        except (EOFError, OSError):
            problem = self.end()
        if problem is not None:
            raise WorkerError(
                f"a worker process could not load an encoder ({problem}): run the same command again, or decode "
                "in the job's own process with --trusted"
            )
        self._is_ready = True

    def decode(self, medium: MediaFile, seconds: float, memory: int) -> Any:
        """Send ``medium`` to the worker and return its answer: a value, or an error to raise.

        Raises:
            MediaError: it takes longer than ``seconds``.
            EOFError, OSError: the worker died.
        """
        ipc.send(self._connection, (medium, memory))
        if not ipc.is_ready(self._connection, seconds):
            raise MediaError(f"cannot be decoded within {seconds:g} seconds")
        return ipc.receive(self._connection)

    def end(self) -> str:
        """Kill the worker, unless it is dead already, and return the signal or exit status that it died of."""
        code = os.waitstatus_to_exitcode(self._fork_server.end(self._process))
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"
