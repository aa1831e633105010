"""Open the source of a medium: a regular file, or its bytes."""

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
"""Maximum seconds that FFmpeg may take for one file."""


@contextmanager
def open_source(
    source: object, *, kind: str, accepted: str, max_bytes: int | None = None
) -> Iterator[IO[bytes]]:
    """Open a source as a binary file; it is not empty and not too large.

    Args:
        source: a path or ``bytes``.
        kind: expected content, for messages, for example ``"picture"``.
        accepted: all sources that the caller accepts, for messages, for example ``"a path or bytes"``.
        max_bytes: maximum size in bytes; None for no limit.

    Raises:
        MediaError: it is neither a path nor bytes, not a regular file, empty or too large.
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
        raise MediaError(f"is not a regular file: expected a {kind} file")
    _check_size(status.st_size, kind, max_bytes)
    with path.open("rb") as file:
        yield file


def _check_size(size: int, kind: str, max_bytes: int | None) -> None:
    if not size:
        raise MediaError(f"is empty: expected a {kind} file")
    if max_bytes is not None and size > max_bytes:
        raise MediaError(f"too large ({size} bytes), the limit is {max_bytes}: cut or compress the {kind}")
