"""Values sent over the socket between a job and its workers arrive unchanged."""

import socket
import threading

import numpy as np
import pytest

from indexer.decoding import ipc


@pytest.fixture
def connections():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


VALUES = {
    "nothing": None,
    "words": ("a", {"b": [1, 2.5]}),
    "pixels": np.arange(3 * 500 * 400, dtype=np.uint8).reshape(500, 400, 3),
    "read-only": np.frombuffer(b"abc" * 100_000, np.uint8),
    "turned": np.arange(60_000, dtype=np.float32).reshape(200, 300).T,
    "strided": np.arange(60_000)[::7],
    "empty": np.empty((0, 5), np.float32),
    "several": [np.zeros(300_000), np.ones((1, 1)), "between", np.ones(3, np.int16)],
    "error": ValueError("no"),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_arrive_unchanged(name, connections):
    ours, theirs = connections
    sending = threading.Thread(target=ipc.send, args=(ours, VALUES[name]))
    sending.start()
    assert ipc.is_ready(theirs, 10)
    received = ipc.receive(theirs)
    sending.join()
    if isinstance(received, ValueError):
        assert received.args == ("no",)
    else:
        np.testing.assert_equal(received, VALUES[name])
    assert not ipc.is_ready(theirs, 0)


def test_a_connection_closed_within_a_message_raises_eof_error(connections):
    ours, theirs = connections
    ours.sendall(ipc.COUNT.pack(1) + ipc.LENGTH.pack(1000) + b"half")
    ours.close()
    assert ipc.is_ready(theirs, 0)
    with pytest.raises(EOFError):
        ipc.receive(theirs)


def test_sending_over_a_closed_connection_raises_os_error(connections):
    ours, theirs = connections
    theirs.close()
    with pytest.raises(OSError, match="Broken pipe"):
        ipc.send(ours, np.zeros(10))
