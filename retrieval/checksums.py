"""Whether a file is what was written: its size and first bytes at a glance, all of it by SHA-256."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HEAD = 65_536
"""Bytes looked at in a glance: a file's header, and the whole of most small files."""


QUICK = 1 << 26
"""Bytes of a file that is compared as a whole when it is first used: a twentieth of a second."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a file held when it was written.

    SHA-256 comes with Python, processors have instructions for it, and two files that have the same one are the
    same: it also tells a file of another index apart.

    Attributes:
        bytes: its size.
        head: SHA-256 in hex of the first ``HEAD`` bytes.
        sha256: of all of it, in hex.
    """

    bytes: int
    head: str
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Checksum:
        """That of the file at ``path`` as it is now."""
        with path.open("rb") as file:
            head = hashlib.sha256(file.read(HEAD)).hexdigest()
            file.seek(0)
            whole = hashlib.file_digest(file, "sha256").hexdigest()
            return cls(os.fstat(file.fileno()).st_size, head, whole)

    def glance(self, path: Path) -> str | None:
        """What can be seen to be wrong with the file by its size and first bytes; None if nothing can."""
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size != self.bytes:
                    return f"has {size:,} bytes, not {self.bytes:,}"
                if hashlib.sha256(file.read(HEAD)).hexdigest() != self.head:
                    return "is not what was written"
        except OSError as error:
            return _unreadable(error)
        return None

    def check(self, path: Path) -> str | None:
        """What is wrong with the file, every byte of which is read; None if it is what was written."""
        if (problem := self.glance(path)) is not None:
            return problem
        try:
            with path.open("rb") as file:
                same = hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except OSError as error:
            return _unreadable(error)
        return None if same else "is not what was written"

    def use(self, path: Path) -> str | None:
        """What is wrong with the file, as far as can be told before it is first used: all of it if it is small."""
        return self.check(path) if self.bytes <= QUICK else None


def of_folder(folder: Path, before: Path | None, known: Mapping[str, Checksum]) -> dict[str, Checksum]:
    """The checksum of every file in ``folder``, by its name there.

    Args:
        folder: that of a generation.
        before: the folder of the generation before it, if there is one.
        known: the checksums of the files in ``before``. A file that both folders hold as one, by a hard link,
            keeps its checksum, so that damage done to it meanwhile is not taken for its content.
    """
    held = {_identity(before / name): checksum for name, checksum in known.items()} if before else {}
    return {
        path.relative_to(folder).as_posix(): held.get(_identity(path)) or Checksum.of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _identity(path: Path) -> tuple[int, int] | None:
    """What two names of one file have in common; None if there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _unreadable(error: OSError) -> str:
    return "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file in hex, as ``EncoderSpec.weights`` has it; read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
