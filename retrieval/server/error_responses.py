"""Errors as answers: one shape, and a status for every class."""

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
"""Seconds after which a busy server may be asked again."""

# The first class that fits counts. What is wrong with the server's own index is not the asker's fault.
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

_MEANINGS = {
    400: "The request cannot be used as it is, or names a host that is not this one.",
    401: "The server wants a token.",
    404: "There is no such thing.",
    405: "The address takes another method.",
    413: "The request is too large.",
    416: "There are no such bytes in the file.",
    422: "The request is not of the shape described here.",
    500: "The server or its index is damaged.",
    503: "The server is busy: ask again after the seconds in Retry-After.",
}


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These answers, and those that any address may give, for the OpenAPI document."""
    every = sorted({400, 401, 405, 500, *statuses})
    return {status: {"model": Problem, "description": _MEANINGS[status]} for status in every}


def answer(error: XmodalError) -> Response:
    """An error as an answer."""
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    return _answer(status, type(error).__name__, str(error))


def _answer(status: int, kind: str, message: str, headers: dict[str, str] | None = None) -> Response:
    headers = dict(headers or {})
    if status == 503:
        headers["Retry-After"] = RETRY_AFTER
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": {"kind": kind, "message": message}}, status, headers)


async def _ours(_: Request, error: Exception) -> Response:
    assert isinstance(error, XmodalError)  # noqa: S101 - as it is registered
    return answer(error)


async def _malformed(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as it is registered
    found = [f"{'.'.join(map(str, each['loc'][1:])) or 'body'}: {each['msg']}" for each in error.errors()[:5]]
    return _answer(422, "OptionError", "; ".join(found))


async def _routing(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as it is registered
    kind = "TooLargeError" if error.status_code == 413 else "RequestError"
    return _answer(error.status_code, kind, str(error.detail), dict(error.headers or {}))


async def _unforeseen(_: Request, error: Exception) -> Response:
    # The traceback goes to the server's log, by uvicorn; what is in it is not the asker's business.
    return _answer(500, "ServerError", f"the server failed on this request ({type(error).__name__})")


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` in the one shape."""
    app.add_exception_handler(XmodalError, _ours)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _routing)
    app.add_exception_handler(Exception, _unforeseen)
