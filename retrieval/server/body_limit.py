"""Limit on the size of a request."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retrieval.errors import TooLargeError
from retrieval.server import error_responses


class BodyLimit:
    """Middleware that refuses a request whose Content-Length is too large, and stops reading one that grows too large.

    FastAPI's own limit is not used because its error response has another shape than this server's.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on unless it is too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdecimal() and int(length) > self._max_bytes:
            await error_responses.error_response(self._error(int(length)))(scope, receive, send)
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise self._error(received)
            return message

        await self._app(scope, limited, send)

    def _error(self, size: int) -> TooLargeError:
        return TooLargeError(
            f"the request is too large ({size} bytes or more), the limit is {self._max_bytes} bytes: "
            "send a smaller file"
        )
