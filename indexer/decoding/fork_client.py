"""The job's side of the nursery: started with the first worker, and kept for the jobs that follow."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading

from indexer.decoding.fork_server import NUMBER
from retrieval.errors import WorkerError

_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])
from indexer.decoding.fork_server import main
main(int(sys.argv[1]))
"""

_LOCK = threading.Lock()
_current: ForkServer | None = None


class ForkServer:
    """A running nursery."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        self._lock = threading.Lock()
        self._owner = os.getpid()
        with theirs:
            arguments = [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), json.dumps(sys.path)]
            # Workers run side by side: more threads in each would only get into each other's way.
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            self._process = subprocess.Popen(  # noqa: S603 - this very Python
                arguments,
                pass_fds=[theirs.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
                process_group=0,  # Ctrl-C is for the job alone, which ends this if it ends
            )
        atexit.register(self.close)

    @property
    def is_usable(self) -> bool:
        """Whether it runs, and is this process's own rather than that of the one it was forked from."""
        return self._owner == os.getpid() and self._process.poll() is None

    def fork_worker(self, connection: socket.socket) -> int:
        """The process id of a new worker, whose end of the connection this is."""
        with self._lock:
            socket.send_fds(self._control, [NUMBER.pack(0)], [connection.fileno()])
            return self._answer()

    def end(self, process: int) -> int:
        """Kill a worker and return the wait status it died with, by this or before."""
        try:
            with self._lock:
                self._control.sendall(NUMBER.pack(process))
                return self._answer()
        except OSError:
            return signal.SIGKILL  # as the nursery did, its workers did

    def _answer(self) -> int:
        answer = self._control.recv(NUMBER.size)
        if not answer:
            raise ConnectionResetError
        return int(NUMBER.unpack(answer)[0])

    def close(self) -> None:
        """End it, and thereby all workers."""
        if self._owner == os.getpid():
            self._control.close()
            self._process.wait()


def fork_worker(connection: socket.socket) -> tuple[ForkServer, int]:
    """A new worker, by its nursery and process id.

    Raises:
        WorkerError: no process can be started, or the operating system has no fork, as Windows.
    """
    if not hasattr(os, "fork"):
        raise WorkerError(
            f"worker processes that decode files need fork, which {sys.platform} does not have: "
            "use Linux, or decode in the main process with --trusted"
        )
    global _current  # noqa: PLW0603 - one a process, as its workers are cheap and it is not
    with _LOCK:
        for _ in range(2):  # somebody may have killed the one that is there
            try:
                if _current is None or not _current.is_usable:
                    _current = ForkServer()
                return _current, _current.fork_worker(connection)
            except OSError as error:
                _current, problem = None, error
    raise WorkerError(
        f"no process to decode in can be started ({problem.strerror or 'it ends at once'}): "
        "mend that, or decode in the job's own with --trusted"
    )
