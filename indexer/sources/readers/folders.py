"""Walking an untrusted folder: any depth, any file names, and no link leads out of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from retrieval.errors import SourceError


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """A file in a walked folder, or a folder that cannot be read.

    Attributes:
        file: its path.
        name: path relative to the walked folder, with ``/``, as text.
        problem: why it cannot be read; None if it can.
        is_folder: whether it is a folder; then ``problem`` is set.
    """

    file: Path
    name: str
    problem: str | None = None
    is_folder: bool = False


def shown(name: str) -> str:
    r"""Return a file's name as text; bytes that are not UTF-8 are escaped, as in ``\xe9``."""
    return os.fsencode(name).decode(errors="backslashreplace")


def walk(root: Path, *, leave_out: Path) -> Iterator[FolderEntry]:
    """Yield every file under ``root`` that is not hidden, folder by folder, sorted by name.

    Symbolic links to files inside ``root`` count as files; links to folders are not followed.

    Args:
        root: a folder.
        leave_out: a folder to skip.

    Raises:
        SourceError: ``root`` itself cannot be read.
    """
    inside = os.path.realpath(root)
    skipped = leave_out.stat() if leave_out.is_dir() else None
    remaining = [os.fspath(root)]
    while remaining:  # no recursion: folders may be nested deeper than Python's stack
        folder = remaining.pop()
        try:
            with os.scandir(folder) as entries:
                visible = sorted(
                    (entry for entry in entries if not entry.name.startswith(".")),
                    key=lambda entry: entry.name,
                )
                folders = [entry for entry in visible if entry.is_dir(follow_symlinks=False)]
                files = [
                    entry
                    for entry in visible
                    if not entry.is_dir(follow_symlinks=False) and not _leads_to_folder(entry)
                ]
        except OSError as error:
            if folder == os.fspath(root):
                raise SourceError(f"the folder {folder!r} cannot be read: {error.strerror}") from error
            yield FolderEntry(
                Path(folder), _relative(folder, root), f"cannot be read: {error.strerror}", is_folder=True
            )
            continue
        for entry in files:
            problem = None
            if entry.is_symlink() and not _is_inside(os.path.realpath(entry.path), inside):
                problem = "is a symbolic link that leaves the source: copy the file, or list it in a manifest"
            yield FolderEntry(Path(entry.path), _relative(entry.path, root), problem)
        remaining += [
            entry.path
            for entry in reversed(folders)
            if skipped is None or not os.path.samestat(entry.stat(follow_symlinks=False), skipped)
        ]


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and Path(entry.path).is_dir()


def _relative(path: str, root: Path) -> str:
    return shown(Path(path).relative_to(root).as_posix())


def _is_inside(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder
