"""Checks whether a file still matches its checksum: size and first bytes quickly, all bytes by SHA-256."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HEAD_BYTES = 65_536
"""Bytes read by a quick check: a file's header, and most small files as a whole."""

FULL_CHECK_BYTES = 1 << 26
"""Largest file, in bytes, that is fully checked before its first use; that takes a twentieth of a second."""

MISMATCH = "does not match its checksum"


@dataclass(frozen=True, slots=True)
class Checksum:
    """Size and hashes of a file at the time it was written.

    SHA-256 comes with Python, processors have instructions for it, and two files with the same hash are the same: it
    also detects a file of another index.

    Attributes:
        bytes: size of the file.
        head: SHA-256 in hex of the first ``HEAD_BYTES`` bytes.
        sha256: SHA-256 in hex of the whole file.
    """

    bytes: int
    head: str
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Checksum:
        """Compute the checksum of the file at ``path``."""
        with path.open("rb") as file:
            head = hashlib.sha256(file.read(HEAD_BYTES)).hexdigest()
            file.seek(0)
            whole = hashlib.file_digest(file, "sha256").hexdigest()
            return cls(os.fstat(file.fileno()).st_size, head, whole)

    def check_quickly(self, path: Path) -> str | None:
        """Check the file's size and first bytes only; return the problem, or None if there is none."""
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size != self.bytes:
                    return f"has {size:,} bytes, not {self.bytes:,}"
                if hashlib.sha256(file.read(HEAD_BYTES)).hexdigest() != self.head:
                    return MISMATCH
        except OSError as error:
            return _unreadable(error)
        return None

    def check_fully(self, path: Path) -> str | None:
        """Check every byte of the file; return the problem, or None if there is none."""
        if (problem := self.check_quickly(path)) is not None:
            return problem
        try:
            with path.open("rb") as file:
                matches = hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except OSError as error:
            return _unreadable(error)
        return None if matches else MISMATCH

    def check_before_use(self, path: Path) -> str | None:
        """Check a file of up to ``FULL_CHECK_BYTES`` fully, a larger one not at all; return the problem or None."""
        return self.check_fully(path) if self.bytes <= FULL_CHECK_BYTES else None


def of_folder(
    folder: Path, previous_folder: Path | None, previous: Mapping[str, Checksum]
) -> dict[str, Checksum]:
    """Return the checksum of every file in ``folder``, by its name there.

    Args:
        folder: folder of a generation.
        previous_folder: folder of the generation before it, if there is one.
        previous: checksums of the files in ``previous_folder``. A file that is hard-linked into both folders keeps its
            checksum: computed anew, damage done since would be taken for its content.
    """
    linked = (
        {_identity(previous_folder / name): checksum for name, checksum in previous.items()}
        if previous_folder
        else {}
    )
    return {
        path.relative_to(folder).as_posix(): linked.get(_identity(path)) or Checksum.of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode, which all names of one file share; None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _unreadable(error: OSError) -> str:
    return "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex, as in ``EncoderSpec.weights``; the file is read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
