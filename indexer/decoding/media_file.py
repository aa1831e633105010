"""A file to decode, and decoding it only if it stays what it was when it was listed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.errors import MediaError, UnreadableError
from retrieval.formatting import single_spaced

MAX_MEMBER = 2**28
"""Bytes of a file inside an archive, which is read into memory as a whole."""


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file, or a part of an archive, as it was found.

    Attributes:
        file: where it is.
        size: in bytes.
        mtime_ns: when the file, or the archive, had last been changed.
        offset: where it begins in ``file``, if that is an archive.
    """

    file: Path
    size: int | None
    mtime_ns: int | None
    offset: int | None = None

    def check(self) -> None:
        """See that nobody has written to the file.

        Raises:
            UnreadableError: somebody has, or it is gone.
        """
        try:
            status = self.file.stat()
        except OSError as error:
            raise UnreadableError(f"cannot be read: {error.strerror}") from error
        size = self.size if self.offset is None else status.st_size
        if (status.st_size, status.st_mtime_ns) != (size, self.mtime_ns):
            raise UnreadableError("changed while it was read: run the same command again")

    def sha256(self) -> str:
        """Of its bytes, in hex.

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
        """The bytes of the part of an archive.

        Raises:
            MediaError: it cannot be read, is cut short, or too large.
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
    """What ``prepare``, an encoder's, makes of a medium that stays as it is meanwhile.

    Raises:
        MediaError: the medium cannot be decoded, exceeds a limit or has been changed.
    """
    medium.check()
    try:
        outcome = prepare(medium.file if medium.offset is None else medium.member())
    except MediaError as error:
        medium.check()  # what is half written cannot be decoded, but that is not what is wrong with it
        raise type(error)(str(error).removeprefix(f"{medium.file}: ")) from None
    except MemoryError:
        raise
    except Exception as error:  # a library's bug, met by this file
        reason = single_spaced(f"{type(error).__name__}: {error}")
        raise MediaError(f"cannot be decoded: {reason}") from error
    medium.check()
    return outcome
