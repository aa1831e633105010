"""Decoding in processes that may die: a decoder that crashes, hangs or eats memory costs one file.

Pools that share a queue among their workers lose the task, or the whole pool, when one is killed in the wrong
moment, and ``multiprocessing`` runs the caller's main module in every child. Here each worker has a socket of its
own and one file at a time, so whoever waits for it knows which file it was. This guards against accidents, not
against code that a file smuggles in: a worker may read what the job may read.
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
"""Bytes that every worker may take for a file. One that needs more is decoded while no other such one is."""

STARTING = 120.0
"""Seconds in which a worker has loaded what its encoder needs."""

Decode = Callable[[MediaFile], Any]
"""What an encoder makes of a file; raises MediaError where it cannot be decoded, or exceeds a limit."""


@dataclass(frozen=True, slots=True)
class ResourceLimit:
    """What a file may take.

    Attributes:
        seconds: by the clock.
        memory: bytes, for the one file that is decoded alone because it needs more than ``MEMORY``.
    """

    seconds: float
    memory: int = 2**29


@contextmanager
def decoding(prepare: Callable[[Any], Any], limit: ResourceLimit, *, trusted: bool) -> Iterator[Decode]:
    """Have files decoded by ``prepare``, an encoder's, in worker processes; in the job itself if they are trusted.

    Args:
        prepare: can be pickled.
        limit: what a file may take in a worker.
        trusted: whether no file will crash or hang the decoder, since that would happen to the job.

    Raises:
        WorkerError: when a file is decoded: no process can be started, or ``prepare`` cannot be sent there.
    """
    if trusted:
        yield partial(prepare_file, prepare)
        return
    with WorkerPool(prepare, limit) as workers:
        yield workers.decode


class WorkerPool:
    """Worker processes as threads need them: each call of ``decode`` takes an idle one or starts another."""

    def __init__(self, prepare: Callable[[Any], Any], limit: ResourceLimit, memory: int = MEMORY) -> None:
        self._unsent = prepare
        self._limit = limit
        self._memory = memory
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._closed = False
        self._lock = threading.Lock()
        self._alone = threading.Lock()

    @cached_property
    def _prepare(self) -> bytes:
        # With the first file: words never come here, and their encoder may be what cannot be sent.
        try:
            return pickle.dumps(self._unsent)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise WorkerError(f"an encoder cannot be sent to a worker process: {error}") from error

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        """End all workers, those that are busy included."""
        with self._lock:
            self._closed = True
            workers, self._all = self._all, set()
        for worker in workers:
            worker.end()

    def decode(self, medium: MediaFile) -> Any:
        """What the encoder makes of ``medium``.

        Raises:
            MediaError: the medium cannot be decoded, exceeds a limit, or the workers are ended meanwhile.
            WorkerError: no process can be started.
        """
        try:
            return self._try(self._take(), medium, self._memory)
        except (_DiedError, MemoryError):
            pass  # which may have been for lack of memory, or somebody else's doing
        with self._alone:
            try:
                return self._try(self._new(), medium, self._limit.memory)
            except _DiedError as error:
                raise MediaError(f"the decoder crashed ({error})") from None
            except MemoryError:
                most = self._limit.memory // 2**20
                raise MediaError(
                    f"needs more than {most} MiB of memory: scale or cut it, or use --trusted"
                ) from None

    def _try(self, worker: _Worker, medium: MediaFile, memory: int) -> Any:
        is_fit = False
        try:
            worker.start(self._prepare)
            outcome = worker.ask(medium, self._limit.seconds, memory)
            is_fit = not isinstance(outcome, MemoryError)  # what it still holds of it is hard to tell
        except (EOFError, OSError, WorkerError) as error:
            if self._closed:
                raise MediaError("the job has ended") from None
            if isinstance(error, WorkerError):
                raise
            raise _DiedError(worker.end()) from None
        finally:
            self._give(worker, is_fit=is_fit)
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

    def _give(self, worker: _Worker, *, is_fit: bool) -> None:
        with self._lock:
            if is_fit and not self._closed:
                self._idle.append(worker)
                return
            self._all.discard(worker)
        worker.end()


class _DiedError(Exception):
    """A worker is no more; the message says of what it died."""


class _Worker:
    """The job's end of one worker process."""

    def __init__(self) -> None:
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._nursery, self._process = fork_client.fork_worker(theirs)
        self._is_ready = False

    def __del__(self) -> None:
        self._connection.close()  # only now: a thread may still wait for what a worker that was ended answers

    def start(self, prepare: bytes) -> None:
        """Have it load an encoder's pickled ``prepare``, unless it has.

        Raises:
            WorkerError: it cannot.
        """
        if self._is_ready:
            return
        problem: str | None = f"it took longer than {STARTING:g} seconds"
        try:
            ipc.send_pickled(self._connection, prepare)
            if ipc.waits(self._connection, STARTING):
                problem = ipc.receive(self._connection)
        except (EOFError, OSError):
            problem = self.end()
        if problem is not None:
            raise WorkerError(
                f"a worker process could not load an encoder ({problem}): run the same command again, or decode "
                "in the job itself with --trusted"
            )
        self._is_ready = True

    def ask(self, medium: MediaFile, seconds: float, memory: int) -> Any:
        """What the worker answers.

        Raises:
            MediaError: it takes too long.
            EOFError, OSError: it died.
        """
        ipc.send(self._connection, (medium, memory))
        if not ipc.waits(self._connection, seconds):
            raise MediaError(f"cannot be decoded within {seconds:g} seconds")
        return ipc.receive(self._connection)

    def end(self) -> str:
        """Kill it, unless it is dead already, and say of what it died."""
        code = os.waitstatus_to_exitcode(self._nursery.end(self._process))
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"
