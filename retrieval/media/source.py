"""Opening what holds a medium: a regular file, or the bytes of one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO

from retrieval.errors import MediaError

TIME_LIMIT = 300.0
"""Seconds that FFmpeg may take for one file."""


@contextmanager
def open_source(
    source: object, *, kind: str, accepted: str, max_bytes: int | None = None
) -> Iterator[IO[bytes]]:
    """An open binary file that is known to hold something, and not too much.

    Args:
        source: a path or ``bytes``.
        kind: what it ought to hold, for messages: ``"picture"``.
        accepted: all that the caller takes, for messages: ``"a path or bytes"``.
        max_bytes: bytes it may hold at most; any number when None.

    Raises:
        MediaError: it is neither, no regular file, empty or too large.
        OSError: the file cannot be opened.
    """
    if isinstance(source, bytes):
        _check_size(len(source), kind, max_bytes)
        yield BytesIO(source)
        return
    if not isinstance(source, str | os.PathLike):
        raise MediaError(f"expected {accepted}, not {type(source).__name__}")
    path = Path(source)
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise MediaError(f"is a folder: expected a {kind} file")
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(f"is no regular file: expected a {kind} file")
    _check_size(status.st_size, kind, max_bytes)
    with path.open("rb") as file:
        yield file


def _check_size(size: int, kind: str, max_bytes: int | None) -> None:
    if not size:
        raise MediaError(f"is empty: expected a {kind} file")
    if max_bytes is not None and size > max_bytes:
        raise MediaError(f"too large ({size} bytes), the limit is {max_bytes}: cut or compress the {kind}")
