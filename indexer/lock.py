"""One writer at a time, who says who it is; and a full disk said in a sentence."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from socket import gethostname

from filelock import FileLock, Timeout

from retrieval.errors import FullDiskError, IndexBusyError
from retrieval.manifest import Layout

FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), "database or disk is full")
"""How libraries say, whatever error they raise, that a disk or quota is full."""


@contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """The right to write to the index folder.

    Raises:
        IndexBusyError: another job is writing there.
        FullDiskError: there is no room for what is written.
    """
    lock = FileLock(layout.lock)
    try:
        # The operating system gives the lock back when its process ends, however it ends.
        lock.acquire(blocking=False)
    except Timeout:
        busy = f"{_writer(layout)} is writing to {str(layout.root)!r}: wait for it to end, or end it"
        raise IndexBusyError(busy) from None
    try:
        who = {
            "pid": os.getpid(),
            "host": gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        layout.writer.write_text(json.dumps(who), encoding="utf-8")
        yield
    except Exception as error:
        if any(message in str(error) for message in FULL):
            raise FullDiskError(
                f"the disk of {str(layout.root)!r} is full: make room and run the same command again; readers "
                "see what was published before, and what was encoded is kept"
            ) from error
        raise
    finally:
        layout.writer.unlink(missing_ok=True)
        lock.release()


def _writer(layout: Layout) -> str:
    """Who holds the lock, as far as it has said so."""
    try:
        who = json.loads(layout.writer.read_text(encoding="utf-8"))
        return f"another job (process {who['pid']} on {who['host']}, since {who['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another job"
