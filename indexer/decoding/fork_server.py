"""The program that worker processes are born from: small, of one thread, with the decoders' libraries loaded.

A worker that is forked from here is there in milliseconds and shares the libraries' memory with the others.
The job asks, over a socket, for a worker or for the end of one; when the job's end of it closes, however that
came about, all workers are killed. ``indexer.decoding.worker_pool`` has the other side.
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
"""What goes over the socket: 0 with a descriptor asks for a worker on it, which is answered by its process id;
a process id asks for its end, which is answered by its wait status."""

PATIENCE = 5000
"""Milliseconds to wait for a killed worker's end."""

_PR_SET_PDEATHSIG = 1


def main(descriptor: int) -> None:
    """Serve until the other end of the socket ``descriptor`` is closed."""
    control = socket.socket(fileno=descriptor)
    _preload()
    born: set[int] = set()
    try:
        while True:
            request, descriptors, _, _ = socket.recv_fds(control, NUMBER.size, 1)
            if not request:
                return
            (process,) = NUMBER.unpack(request)
            control.sendall(
                NUMBER.pack(_end(born, process) if process else _bear(born, control, *descriptors))
            )
    except OSError:  # the job is gone
        return
    finally:
        for process in born:
            os.kill(process, signal.SIGKILL)


def _preload() -> None:
    import numpy  # noqa: F401
    from PIL import Image

    Image.init()


def _bear(born: set[int], control: socket.socket, descriptor: int) -> int:
    process = os.fork()
    if not process:
        control.close()
        try:
            _work(socket.socket(fileno=descriptor))
        finally:
            os._exit(1)
    os.close(descriptor)
    born.add(process)
    return process


def _end(born: set[int], process: int) -> int:
    if process not in born:  # that of a nursery before this one
        return 0
    os.kill(process, signal.SIGKILL)  # does nothing if it has died of something else
    for _ in range(PATIENCE):
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            born.remove(process)
            return status
        time.sleep(0.001)
    return signal.SIGKILL  # it waits for a disk that is gone, and will die when that lets go of it


def _work(connection: socket.socket) -> None:
    """The whole life of a worker: decode what comes until nothing comes any more."""
    import resource  # only POSIX has it

    # Libraries in C tell of damaged files on standard error; the reason is reported otherwise.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # even if the nursery is killed before it can kill its workers
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
    """What became of a medium: what ``prepare`` made of it, or an error for the job to raise."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    wanted = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    try:
        return prepare_file(prepare, medium)
    except MediaError as error:
        return error
    except MemoryError:
        return MemoryError()
