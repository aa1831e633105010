"""Telling a full disk from other errors."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from collections.abc import Iterator

from retrieval.errors import XmodalError

FULL_DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT})
"""No space left on the device, and disk quota exceeded."""

FULL_DISK_TEXT = re.compile(
    "|".join(
        [re.escape(os.strerror(number)) for number in sorted(FULL_DISK_ERRNOS)]
        + [r"\d+ requested and \d+ written"]
    )
)
"""Text of errors that carry no code. FAISS (``RuntimeError``) and safetensors (``SafetensorError``) put the
system's text of the error into their message. NumPy's ``tofile``, which ``np.save`` uses, reports only how much it
wrote: an ``OSError`` whose ``errno`` is None."""


def is_full_disk(error: BaseException) -> bool:
    """Return whether a full disk or quota caused ``error``: by a code, or by text where there is no code."""
    return any(_is_full_disk(each) for each in _chain(error))


def _is_full_disk(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL_DISK_ERRNOS
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(error, sqlite3.Error) and code is not None:
        return int(code) == sqlite3.SQLITE_FULL
    # The messages of this package, and SQLAlchemy's around an original, may quote any file name.
    if isinstance(error, XmodalError) or getattr(error, "orig", None) is not None:
        return False
    return FULL_DISK_TEXT.search(str(error)) is not None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error`` and all that led to it: causes, contexts, SQLAlchemy's originals, members of groups.

    A context hidden by ``raise ... from None`` counts too: the disk is full all the same.
    """
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__cause__, each.__context__, getattr(each, "orig", None)]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
