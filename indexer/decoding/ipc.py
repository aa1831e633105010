"""Values over a socket between the job and its workers: pickled, and the memory of arrays beside that, uncopied."""

from __future__ import annotations

import pickle
import select
import socket
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

COUNT, LENGTH = struct.Struct("<I"), struct.Struct("<Q")


def send(connection: socket.socket, value: Any) -> None:
    """Send what can be pickled.

    Raises:
        OSError: nobody is there to take it.
    """
    buffers: list[pickle.PickleBuffer] = []
    send_pickled(connection, pickle.dumps(value, protocol=5, buffer_callback=buffers.append), buffers)


def send_pickled(
    connection: socket.socket, pickled: bytes, buffers: Sequence[pickle.PickleBuffer] = ()
) -> None:
    """Send what is pickled already, and the memory beside it.

    Raises:
        OSError: nobody is there to take it.
    """
    pieces = [memoryview(pickled), *(buffer.raw() for buffer in buffers)]
    lengths = b"".join(LENGTH.pack(piece.nbytes) for piece in pieces)
    connection.sendall(COUNT.pack(len(pieces)) + lengths)
    for piece in pieces:
        connection.sendall(piece)


def receive(connection: socket.socket) -> Any:
    """What the other side sent, which must be trusted.

    Raises:
        EOFError: it has gone, and sent no more.
        OSError: it was killed.
    """
    (count,) = COUNT.unpack(_read(connection, COUNT.size))
    lengths = LENGTH.iter_unpack(_read(connection, count * LENGTH.size))
    pickled, *buffers = [_read(connection, length) for (length,) in lengths]
    return pickle.loads(pickled, buffers=buffers)  # noqa: S301 - between a job and what it has started


def waits(connection: socket.socket, seconds: float) -> bool:
    """Whether there is something to receive, or the other side has gone, within so many seconds."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(1000 * seconds))


def _read(connection: socket.socket, length: int) -> memoryview:
    data = view = np.empty(length, np.uint8).data  # bytearray would be filled with zeros first
    while view:
        if not (count := connection.recv_into(view)):
            raise EOFError
        view = view[count:]
    return data
