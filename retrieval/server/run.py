"""The server at work: bound to its address, saying when it answers, stopped by an interrupt."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn

from retrieval.errors import OptionError
from retrieval.formatting import reason
from retrieval.server.app import make


class _Server(uvicorn.Server):
    """Says when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._ready()


def run(folder: Path, *, host: str, port: int, ready: Callable[[str], None], **options: Any) -> None:
    """Serve until interrupted.

    Args:
        folder: an index.
        host: the address to listen on.
        port: 0 for any that is free.
        ready: told the page's address as soon as it answers.
        options: as ``make`` takes them.

    Raises:
        OptionError: as ``make``, or the address cannot be listened on.
        XmodalError: the index cannot be opened.
    """
    with _bind(host, port) as bound:
        app = make(folder, host=host, **options)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=10
        )
        where = f"[{host}]" if ":" in host else host
        server = _Server(config, lambda: ready(f"http://{where}:{bound.getsockname()[1]}/"))
        with suppress(KeyboardInterrupt):  # which is how it is meant to end
            server.run([bound])


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise OptionError(
            f"cannot listen on {host} port {port} ({reason(error)}): choose another --port or --host"
        ) from error
