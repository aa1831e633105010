"""How large a request may be."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retrieval.errors import TooLargeError
from retrieval.server import error_responses


class BodyLimit:
    """Refuses a request that says it is too large, and stops reading one that turns out to be.

    FastAPI's own limit answers in another shape than everything else here.
    """

    def __init__(self, app: ASGIApp, *, most: int) -> None:
        """Put it around ``app``; ``most`` is in bytes."""
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on what is not too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdecimal() and int(length) > self._most:
            await error_responses.answer(self._error(int(length)))(scope, receive, send)
            return
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise self._error(seen)
            return message

        await self._app(scope, limited, send)

    def _error(self, size: int) -> TooLargeError:
        return TooLargeError(
            f"the request is too large ({size} bytes or more), the limit is {self._most}: cut the file"
        )
