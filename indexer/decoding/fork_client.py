"""The job's side of the fork server: started with the first worker, and kept for later jobs of the process."""

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
    """A running fork server."""

    def __init__(self) -> None:
        self._control, server_control = socket.socketpair()
        self._lock = threading.Lock()
        self._owner = os.getpid()
        with server_control:
            arguments = [sys.executable, "-c", _PROGRAM, str(server_control.fileno()), json.dumps(sys.path)]
            # Workers run in parallel: more threads in each would compete for the same cores.
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            self._process = subprocess.Popen(  # noqa: S603 - this very Python
                arguments,
                pass_fds=[server_control.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
                process_group=0,  # Ctrl-C goes to the job alone; the fork server ends when the job ends
            )
        atexit.register(self.close)

    @property
    def is_usable(self) -> bool:
        """Whether it runs and this process started it, rather than a process that this one was forked from."""
        return self._owner == os.getpid() and self._process.poll() is None

    def fork_worker(self, connection: socket.socket) -> int:
        """Start a worker and return its process id.

        Args:
            connection: the worker's end of a socket pair.
        """
        with self._lock:
            socket.send_fds(self._control, [NUMBER.pack(0)], [connection.fileno()])
            return self._receive()

    def end(self, process: int) -> int:
        """Kill a worker and return its wait status; it may have died before."""
        try:
            with self._lock:
                self._control.sendall(NUMBER.pack(process))
                return self._receive()
        except OSError:
            return signal.SIGKILL  # the fork server is dead, and so are its workers

    def _receive(self) -> int:
        answer = self._control.recv(NUMBER.size)
        if not answer:
            raise ConnectionResetError
        return int(NUMBER.unpack(answer)[0])

    def close(self) -> None:
        """End the fork server, which ends all its workers."""
        if self._owner == os.getpid():
            self._control.close()
            self._process.wait()


def fork_worker(connection: socket.socket) -> tuple[ForkServer, int]:
    """Start a worker process; return its fork server and its process id.

    Raises:
        WorkerError: no worker process can be started, or the system has no fork, as Windows.
    """
    if not hasattr(os, "fork"):
        raise WorkerError(
            f"worker processes that decode files need fork, which {sys.platform} does not have: "
            "use Linux, or decode in the main process with --trusted"
        )
    global _current  # noqa: PLW0603 - one per process: starting it is slow, starting a worker is not
    with _LOCK:
        for _ in range(2):  # the second time if the running fork server was killed
            try:
                if _current is None or not _current.is_usable:
                    _current = ForkServer()
                return _current, _current.fork_worker(connection)
            except OSError as error:
                _current, problem = None, error
    raise WorkerError(
        f"no worker process can be started ({problem.strerror or 'it ends at once'}): "
        "fix that, or decode in the job's own process with --trusted"
    )
