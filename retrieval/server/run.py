"""Run the server: bind the address, report when it is ready, and stop on an interrupt."""

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
    """A uvicorn server that calls ``on_ready`` once it accepts requests."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._on_ready()


def run(folder: Path, *, host: str, port: int, on_ready: Callable[[str], None], **options: Any) -> None:
    """Serve the index in ``folder`` until interrupted.

    Args:
        folder: an index.
        host: the address to listen on.
        port: the port to listen on; 0 for any free port.
        on_ready: called with the page's URL as soon as the server accepts requests.
        options: passed to ``make``.

    Raises:
        OptionError: as ``make``, or the server cannot listen on the address.
        XmodalError: the index cannot be opened.
    """
    with _bind(host, port) as bound:
        app = make(folder, host=host, **options)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=10
        )
        url_host = f"[{host}]" if ":" in host else host
        server = _Server(config, lambda: on_ready(f"http://{url_host}:{bound.getsockname()[1]}/"))
        with suppress(KeyboardInterrupt):  # the normal way to stop the server
            server.run([bound])


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise OptionError(
            f"cannot listen on {host} port {port} ({reason(error)}): choose another --port or --host"
        ) from error
