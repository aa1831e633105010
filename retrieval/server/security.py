"""Access control, and headers that limit what a browser may do with the responses."""

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

PUBLIC_PATHS = frozenset({"/api/health"})
"""Paths that need no token: they reveal nothing of the index's content."""

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
"""Headers of every response that does not set its own."""


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class AccessControl:
    """Middleware that checks the Host header and the access token of each request before the application sees it.

    On loopback, ``Host`` must name this machine. Otherwise a foreign web page whose host name was made to resolve to
    127.0.0.1 (DNS rebinding) could read the responses, since they would count as same-origin.
    """

    def __init__(self, app: ASGIApp, *, loopback: bool, token: str | None, cross_origin: bool) -> None:
        """Wrap ``app``.

        Args:
            app: the application to protect.
            loopback: whether the server listens on a loopback address only.
            token: access token that clients must send; None for none.
            cross_origin: whether web pages of other origins may use the responses.
        """
        self._app, self._loopback, self._token = app, loopback, token
        self._headers = dict(HEADERS)
        if cross_origin:
            self._headers["Cross-Origin-Resource-Policy"] = "cross-origin"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        try:
            self._check_host(headers)
            query_token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            if self._token is not None and scope["path"] == "/" and query_token:
                self._check_token(query_token)
                await self._redirect_with_cookie(query_token)(scope, receive, send_with_headers)
                return
            if scope["path"] not in PUBLIC_PATHS and scope["method"] != "OPTIONS":
                self._check_token(_sent_token(headers))
            await self._app(scope, receive, send_with_headers)
        except XmodalError as error:
            await error_responses.error_response(error)(scope, receive, send_with_headers)

    def _check_host(self, headers: Headers) -> None:
        name = headers.get("host", "")
        if self._loopback and not is_loopback(_without_port(name)):
            raise OptionError(
                f"this server answers only requests to localhost, not to {name[:100]!r}: use http://localhost"
            )

    def _check_token(self, token: str) -> None:
        if self._token is None:
            return
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            raise UnauthorizedError(
                "this server requires its access token: send 'Authorization: Bearer TOKEN', or open /?token=TOKEN once"
            )

    def _redirect_with_cookie(self, token: str) -> RedirectResponse:
        """Return a redirect to the page that moves the token from the URL to a cookie."""
        response = RedirectResponse("/", 303)
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
        return response


def _sent_token(headers: Headers) -> str:
    """Return the token that a request sends; empty if it sends none."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def check_access(host: str, token: str | None) -> None:
    """Refuse to listen for other machines without a token.

    Raises:
        OptionError: the host is not loopback and there is no token, or the token is too short or has odd characters.
    """
    if token is not None and (
        len(token) < 8 or not token.isascii() or not token.isprintable() or " " in token
    ):
        raise OptionError(
            "a token needs at least 8 printable ASCII characters and no spaces: choose another --token"
        )
    if token is None and not is_loopback(host):
        raise OptionError(
            f"other machines can reach the server on {host}: set an access token with --token, or leave --host out"
        )
