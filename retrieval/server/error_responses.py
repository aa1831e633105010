"""Error responses: one JSON shape for all, and an HTTP status for each error class."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from retrieval import errors
from retrieval.errors import XmodalError
from retrieval.server.api_models import Problem

RETRY_AFTER = "1"
"""Seconds that a client should wait before it retries on a busy server."""

# The first matching class counts. Problems of the server's own index are not the client's fault: status 500.
_STATUS: list[tuple[type[XmodalError], int]] = [
    (errors.UnauthorizedError, 401),
    (errors.UnknownItemError, 404),
    (errors.MissingFileError, 404),
    (errors.TooLargeError, 413),
    (errors.BusyError, 503),
    (errors.OutdatedReaderError, 503),
    (errors.EncoderMismatchError, 500),
    (errors.DependencyError, 500),
    (errors.DeviceError, 500),
    (errors.NotAnIndexError, 500),
    (errors.IndexFormatError, 500),
    (errors.InputError, 400),
    (XmodalError, 500),
]

_DESCRIPTIONS = {
    400: "The request cannot be used, or its Host header does not name this server.",
    401: "The access token is missing or wrong.",
    404: "Not found.",
    405: "The method is not allowed for this URL.",
    413: "The request is too large.",
    416: "The requested byte range is not in the file.",
    422: "The request does not match the schema.",
    500: "The server failed, or its index is damaged.",
    503: "The server is busy; retry after the number of seconds in Retry-After.",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return these error responses, and those that every URL may give, for the OpenAPI document."""
    every = sorted({400, 401, 405, 500, *statuses})
    return {status: {"model": Problem, "description": _DESCRIPTIONS[status]} for status in every}


def error_response(error: XmodalError) -> Response:
    """Return the response for an error."""
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    return _response(status, type(error).__name__, str(error))


def _response(status: int, kind: str, message: str, headers: dict[str, str] | None = None) -> Response:
    headers = dict(headers or {})
    if status == 503:
        headers["Retry-After"] = RETRY_AFTER
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": {"kind": kind, "message": message}}, status, headers)


async def _on_xmodal_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, XmodalError)  # noqa: S101 - as it is registered
    return error_response(error)


async def _on_invalid_request(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as it is registered
    problems = [
        f"{'.'.join(map(str, each['loc'][1:])) or 'body'}: {each['msg']}" for each in error.errors()[:5]
    ]
    return _response(422, "OptionError", "; ".join(problems))


async def _on_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as it is registered
    kind = "TooLargeError" if error.status_code == 413 else "RequestError"
    return _response(error.status_code, kind, str(error.detail), dict(error.headers or {}))


async def _on_unexpected_error(_: Request, error: Exception) -> Response:
    # uvicorn logs the traceback; its content must not reach the client.
    return _response(500, "ServerError", f"the server failed on this request ({type(error).__name__})")


def install(app: FastAPI) -> None:
    """Make ``app`` answer every error in the one JSON shape."""
    app.add_exception_handler(XmodalError, _on_xmodal_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_unexpected_error)
