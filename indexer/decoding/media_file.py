"""A file to decode, and the check that it has not changed since it was listed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.errors import MediaError, UnreadableError
from retrieval.formatting import single_spaced

MAX_MEMBER = 2**28
"""Maximum bytes of a file inside an archive, since it is read into memory as a whole."""


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file, or a member of an archive, as it was listed.

    Attributes:
        file: path of the file or archive.
        size: in bytes.
        mtime_ns: modification time of the file or archive.
        offset: byte offset in ``file`` if that is an archive.
    """

    file: Path
    size: int | None
    mtime_ns: int | None
    offset: int | None = None

    def check(self) -> None:
        """Check that the file has not changed.

        Raises:
            UnreadableError: it has changed, or it is gone.
        """
        try:
            status = self.file.stat()
        except OSError as error:
            raise UnreadableError(f"cannot be read: {error.strerror}") from error
        size = self.size if self.offset is None else status.st_size
        if (status.st_size, status.st_mtime_ns) != (size, self.mtime_ns):
            raise UnreadableError("changed while it was read: run the same command again")

    def sha256(self) -> str:
        """Return the SHA-256 of its bytes, in hex.

        Raises:
            UnreadableError: it cannot be read.
        """
        if self.offset is not None:
            return hashlib.sha256(self.member()).hexdigest()
        try:
            with self.file.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UnreadableError(f"cannot be read: {error.strerror}") from error

    def member(self) -> bytes:
        """Return the bytes of an archive member.

        Raises:
            MediaError: it cannot be read, is cut short, or is too large.
        """
        size = self.size or 0
        if size > MAX_MEMBER:
            raise MediaError(f"too large ({size} bytes in an archive), the limit is {MAX_MEMBER}: unpack it")
        try:
            with self.file.open("rb") as file:
                file.seek(self.offset or 0)
                data = file.read(size)
        except OSError as error:
            raise UnreadableError(f"cannot be read: {error.strerror}") from error
        if len(data) != size:
            raise MediaError(f"expected {size} bytes in the archive, it ends after {len(data)}")
        return data


def prepare_file(prepare: Callable[[Any], Any], medium: MediaFile) -> Any:
    """Decode a medium by an encoder's ``prepare``, and check before and after that it has not changed.

    Raises:
        MediaError: the medium cannot be decoded, exceeds a limit, or has changed.
    """
    medium.check()
    try:
        outcome = prepare(medium.file if medium.offset is None else medium.member())
    except MediaError as error:
        medium.check()  # a half-written file cannot be decoded either: then report the change instead
        raise type(error)(str(error).removeprefix(f"{medium.file}: ")) from None
    except MemoryError:
        raise
    except Exception as error:  # a bug of a library that this file triggers
        reason = single_spaced(f"{type(error).__name__}: {error}")
        raise MediaError(f"cannot be decoded: {reason}") from error
    medium.check()
    return outcome
