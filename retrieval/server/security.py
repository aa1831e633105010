"""Who may ask, and what a browser may do with the answers."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from types import MappingProxyType
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retrieval.errors import OptionError, UnauthorizedError, XmodalError
from retrieval.server import error_responses

COOKIE = "xmodal-token"

OPEN = frozenset({"/api/health"})
"""What is answered without a token: it says nothing of what the index holds."""

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
            "media-src 'self' blob:; connect-src 'self'; font-src 'self'; manifest-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
    }
)
"""On every answer, unless it says otherwise."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """Checks each request before anything else sees it: its host and its token.

    On loopback the name in ``Host`` must be this machine's: a page elsewhere whose name is made to resolve to
    127.0.0.1 (DNS rebinding) would else read the answers as its own.
    """

    def __init__(self, app: ASGIApp, *, loopback: bool, token: str | None, shared: bool) -> None:
        """Put it around ``app``.

        Args:
            app: what is guarded.
            loopback: whether the server listens on this machine alone.
            token: what whoever asks must know; None for nothing.
            shared: whether pages of other origins may use the answers.
        """
        self._app, self._loopback, self._token = app, loopback, token
        self._headers = dict(HEADERS)
        if shared:
            self._headers["Cross-Origin-Resource-Policy"] = "cross-origin"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by itself or hand on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        try:
            self._check_host(headers)
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            if self._token is not None and scope["path"] == "/" and given:
                self._check_token(given)
                await self._let_in(given)(scope, receive, guarded)
                return
            if scope["path"] not in OPEN and scope["method"] != "OPTIONS":
                self._check_token(_token(headers))
            await self._app(scope, receive, guarded)
        except XmodalError as error:
            await error_responses.answer(error)(scope, receive, guarded)

    def _check_host(self, headers: Headers) -> None:
        name = headers.get("host", "")
        if self._loopback and not is_loopback(_without_port(name)):
            raise OptionError(f"this server is localhost, not {name[:100]!r}: ask it by that name")

    def _check_token(self, given: str) -> None:
        if self._token is None:
            return
        if not secrets.compare_digest(given.encode(), self._token.encode()):
            raise UnauthorizedError(
                "this server wants its token: as 'Authorization: Bearer TOKEN', or open /?token=TOKEN once"
            )

    def _let_in(self, token: str) -> RedirectResponse:
        """To the page, its address without the token, which is in a cookie from now on."""
        response = RedirectResponse("/", 303)
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
        return response


def _token(headers: Headers) -> str:
    """What came as a token; empty if nothing did."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def check_reach(host: str, token: str | None) -> None:
    """Refuse to be open to other machines without a token.

    Raises:
        OptionError: the host is not loopback, and there is no token, or one that can be guessed.
    """
    if token is not None and (
        len(token) < 8 or not token.isascii() or not token.isprintable() or " " in token
    ):
        raise OptionError("a token is at least 8 printable ASCII characters without spaces: make another one")
    if token is None and not is_loopback(host):
        raise OptionError(
            f"on {host} other machines can reach the server: give a --token that they must know, or leave --host out"
        )
