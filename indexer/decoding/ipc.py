"""Messages between the job and its workers: a pickled value, then the memory of its arrays without a copy."""

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
    """Send a picklable value.

    Raises:
        OSError: the other side has closed the connection.
    """
    buffers: list[pickle.PickleBuffer] = []
    send_pickled(connection, pickle.dumps(value, protocol=5, buffer_callback=buffers.append), buffers)


def send_pickled(
    connection: socket.socket, pickled: bytes, buffers: Sequence[pickle.PickleBuffer] = ()
) -> None:
    """Send a value that is pickled already, and its out-of-band buffers.

    Raises:
        OSError: the other side has closed the connection.
    """
    frames = [memoryview(pickled), *(buffer.raw() for buffer in buffers)]
    lengths = b"".join(LENGTH.pack(frame.nbytes) for frame in frames)
    connection.sendall(COUNT.pack(len(frames)) + lengths)
    for frame in frames:
        connection.sendall(frame)


def receive(connection: socket.socket) -> Any:
    """Receive a value. It is unpickled, so the other side must be trusted.

    Raises:
        EOFError: the other side closed the connection before the end of a message.
        OSError: the other side was killed.
    """
    (count,) = COUNT.unpack(_read(connection, COUNT.size))
    lengths = LENGTH.iter_unpack(_read(connection, count * LENGTH.size))
    pickled, *buffers = [_read(connection, length) for (length,) in lengths]
    return pickle.loads(pickled, buffers=buffers)  # noqa: S301 - only between a job and processes that it started


def is_ready(connection: socket.socket, seconds: float) -> bool:
    """Return whether there is data, or the other side has closed the connection, within ``seconds``."""
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
