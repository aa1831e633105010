"""Fork server that starts decode workers: a small single-threaded program with the decoders' libraries loaded.

A worker forked from it starts in milliseconds and shares the libraries' memory with the other workers. Over a
socket the job requests a new worker or the end of one. When the job's end of the socket closes, for any reason, all
workers are killed. ``indexer.decoding.fork_client`` is the other side.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from indexer.decoding import ipc
from indexer.decoding.media_file import MediaFile, prepare_file
from retrieval.errors import MediaError

NUMBER = struct.Struct("<q")
"""A message on the socket. The request 0, with a file descriptor, starts a worker that uses this descriptor; the
reply is its process id. A process id as the request ends this worker; the reply is its wait status."""

END_TIMEOUT_MS = 5000
"""Milliseconds to wait for the end of a killed worker."""

_PR_SET_PDEATHSIG = 1


def main(descriptor: int) -> None:
    """Serve until the other end of the socket ``descriptor`` is closed."""
    control = socket.socket(fileno=descriptor)
    _preload()
    workers: set[int] = set()
    try:
        while True:
            request, descriptors, _, _ = socket.recv_fds(control, NUMBER.size, 1)
            if not request:
                return
            (process,) = NUMBER.unpack(request)
            control.sendall(
                NUMBER.pack(_end(workers, process) if process else _fork(workers, control, *descriptors))
            )
    except OSError:  # the job is gone
        return
    finally:
        for process in workers:
            os.kill(process, signal.SIGKILL)


def _preload() -> None:
    import numpy  # noqa: F401
    from PIL import Image

    Image.init()


def _fork(workers: set[int], control: socket.socket, descriptor: int) -> int:
    process = os.fork()
    if not process:
        control.close()
        try:
            _work(socket.socket(fileno=descriptor))
        finally:
            os._exit(1)
    os.close(descriptor)
    workers.add(process)
    return process


def _end(workers: set[int], process: int) -> int:
    if process not in workers:  # a worker of an earlier fork server
        return 0
    os.kill(process, signal.SIGKILL)  # no effect if it is dead already
    for _ in range(END_TIMEOUT_MS):
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            workers.remove(process)
            return status
        time.sleep(0.001)
    return signal.SIGKILL  # it waits for a disk that does not respond, and dies when that wait ends


def _work(connection: socket.socket) -> None:
    """Run a worker: decode files until the connection closes."""
    import resource  # only POSIX has it

    # C libraries report damaged files on standard error; the job reports the reason itself.
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # in case the fork server is killed before it can kill its workers
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with suppress(EOFError, OSError):
        try:
            prepare = ipc.receive(connection)
        except Exception as error:
            ipc.send(connection, repr(error))
            return
        ipc.send(connection, None)
        while True:
            ipc.send(connection, _outcome(prepare, *ipc.receive(connection)))


def _outcome(prepare: Callable[[Any], Any], medium: MediaFile, memory: int) -> Any:
    """Return what ``prepare`` makes of a medium, or an error for the job to raise."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    soft = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    try:
        return prepare_file(prepare, medium)
    except MediaError as error:
        return error
    except MemoryError:
        return MemoryError()
