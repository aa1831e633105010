"""What goes over the socket between a job and its workers comes out as it went in."""

import socket
import threading

import numpy as np
import pytest

from indexer.decoding import ipc


@pytest.fixture
def ends():
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
def test_values_come_out_as_they_went_in(name, ends):
    ours, theirs = ends
    sending = threading.Thread(target=ipc.send, args=(ours, VALUES[name]))
    sending.start()
    assert ipc.waits(theirs, 10)
    found = ipc.receive(theirs)
    sending.join()
    if isinstance(found, ValueError):
        assert found.args == ("no",)
    else:
        np.testing.assert_equal(found, VALUES[name])
    assert not ipc.waits(theirs, 0)


def test_an_end_in_the_middle_is_told(ends):
    ours, theirs = ends
    ours.sendall(ipc.COUNT.pack(1) + ipc.LENGTH.pack(1000) + b"half")
    ours.close()
    assert ipc.waits(theirs, 0)
    with pytest.raises(EOFError):
        ipc.receive(theirs)


def test_nobody_to_take_it_is_told(ends):
    ours, theirs = ends
    theirs.close()
    with pytest.raises(OSError, match="Broken pipe"):
        ipc.send(ours, np.zeros(10))
