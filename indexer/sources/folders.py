"""Walking a folder that anybody may have filled: any depth, any names, no way out of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from retrieval.errors import SourceError


@dataclass(frozen=True, slots=True)
class Found:
    """Something in a folder.

    Attributes:
        file: where it is.
        name: relative to the folder that was walked, with ``/``, as text.
        problem: why it cannot be read, if so.
        is_folder: whether it is a folder, which has a problem then.
    """

    file: Path
    name: str
    problem: str | None = None
    is_folder: bool = False


def shown(name: str) -> str:
    r"""A file's name as text: bytes that are no UTF-8 become ``\xe9`` and the like."""
    return os.fsencode(name).decode(errors="backslashreplace")


def walk(root: Path, *, leave_out: Path) -> Iterator[Found]:
    """Every file under ``root``, in a fixed order, without hidden ones; folder by folder, names sorted.

    Symbolic links to files inside ``root`` are files like others, those to folders are not followed.

    Args:
        root: a folder.
        leave_out: a folder that is not walked into.

    Raises:
        SourceError: ``root`` itself cannot be read.
    """
    inside = os.path.realpath(root)
    own = leave_out.stat() if leave_out.is_dir() else None
    waiting = [os.fspath(root)]
    while waiting:  # not by recursion: folders may be nested deeper than Python's stack
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                here = sorted(
                    (entry for entry in entries if not entry.name.startswith(".")), key=lambda one: one.name
                )
                folders = [entry for entry in here if entry.is_dir(follow_symlinks=False)]
                files = [
                    entry
                    for entry in here
                    if not entry.is_dir(follow_symlinks=False) and not _leads_to_folder(entry)
                ]
        except OSError as error:
            if folder == os.fspath(root):
                raise SourceError(f"the folder {folder!r} cannot be read: {error.strerror}") from error
            yield Found(
                Path(folder), _relative(folder, root), f"cannot be read: {error.strerror}", is_folder=True
            )
            continue
        for entry in files:
            problem = None
            if entry.is_symlink() and not _is_inside(os.path.realpath(entry.path), inside):
                problem = "is a symbolic link that leaves the source: copy the file, or list it in a manifest"
            yield Found(Path(entry.path), _relative(entry.path, root), problem)
        waiting += [
            entry.path
            for entry in reversed(folders)
            if own is None or not os.path.samestat(entry.stat(follow_symlinks=False), own)
        ]


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and Path(entry.path).is_dir()


def _relative(path: str, root: Path) -> str:
    return shown(Path(path).relative_to(root).as_posix())


def _is_inside(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder
