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
from multiprocessing.connection import Connection
from typing import Any, Protocol

from indexer import nurseries
from indexer.medium import Medium, prepared
from retrieval.errors import MediaError, WorkerError

MEMORY, MUCH_MEMORY = 2**29, 2**30
"""Bytes that a worker may take for a file, and for one that needs more, of which there is one at a time."""


class Decode(Protocol):
    """Where media are decoded: in worker processes, or here."""

    def __call__(self, prepare: Callable[[Any], Any], medium: Medium, seconds: float) -> Any:
        """What an encoder's ``prepare`` makes of a medium, in so many seconds at most.

        Raises:
            MediaError: the medium cannot be decoded, or exceeds a limit.
        """
        ...


def here(prepare: Callable[[Any], Any], medium: Medium, seconds: float) -> Any:  # noqa: ARG001 - Decode
    """Decode in the calling thread: for files that are trusted, since whatever they do happens to the job."""
    return prepared(prepare, medium)


@contextmanager
def decoding(*, trusted: bool) -> Iterator[Decode]:
    """Where to decode a job's files: in the job itself if they are trusted, or else in worker processes."""
    if trusted:
        yield here
        return
    with Workers() as workers:
        yield workers.decode


class Workers:
    """Worker processes as threads need them: each call of ``decode`` takes an idle one or starts another."""

    def __init__(self, memory: int = MEMORY, much_memory: int = MUCH_MEMORY) -> None:
        self._memory = memory
        self._much_memory = max(memory, much_memory)
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._closed = False
        self._lock = threading.Lock()
        self._alone = threading.Lock()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        """End all workers, those that are busy included."""
        with self._lock:
            self._closed = True
            workers, self._all = self._all, set()
        for worker in workers:
            worker.end()

    def decode(self, prepare: Callable[[Any], Any], medium: Medium, seconds: float) -> Any:
        """See ``Decode``."""
        try:
            return self._try(prepare, medium, seconds, self._memory)
        except (_DiedError, MemoryError):
            pass  # which may have been for lack of memory, or somebody else's doing
        with self._alone:
            try:
                return self._try(prepare, medium, seconds, self._much_memory)
            except _DiedError as error:
                raise MediaError(f"the decoder crashed ({error})") from None
            except MemoryError:
                least = self._much_memory // 2**20
                raise MediaError(f"needs more than {least} MiB of memory: scale or cut it down") from None

    def _try(self, prepare: Callable[[Any], Any], medium: Medium, seconds: float, memory: int) -> Any:
        worker = self._take()
        is_fit = False
        try:
            outcome = worker.ask(prepare, medium, seconds, memory)
            is_fit = not isinstance(outcome, MemoryError)  # what it still holds of it is hard to tell
        except (EOFError, OSError):
            if self._closed:
                raise MediaError("the job has ended") from None
            raise _DiedError(worker.end()) from None
        finally:
            self._give(worker, is_fit=is_fit)
        if isinstance(outcome, MediaError | MemoryError | WorkerError):
            raise outcome
        return outcome

    def _take(self) -> _Worker:
        with self._lock:
            if self._closed:
                raise MediaError("the job has ended")
            if self._idle:
                return self._idle.pop()
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
        ours, theirs = socket.socketpair()
        with theirs:
            self._nursery, self._process = nurseries.bear(theirs)
        self._connection: Connection[Any, Any] = Connection(ours.detach())
        self._prepare: Callable[[Any], Any] | None = None

    def ask(self, prepare: Callable[[Any], Any], medium: Medium, seconds: float, memory: int) -> Any:
        """What the worker answers.

        Raises:
            MediaError: it takes too long.
            EOFError, OSError: it died.
            WorkerError: ``prepare`` is nothing that can be sent.
        """
        try:
            pickled = None if prepare == self._prepare else pickle.dumps(prepare)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise WorkerError(f"an encoder cannot be sent to a worker process: {error}") from error
        self._connection.send((pickled, medium, memory))
        self._prepare = prepare
        if not self._connection.poll(seconds):
            raise MediaError(f"cannot be decoded within {seconds:g} seconds")
        return self._connection.recv()

    def end(self) -> str:
        """Kill it, unless it is dead already, and say of what it died."""
        code = os.waitstatus_to_exitcode(self._nursery.end(self._process))
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"
