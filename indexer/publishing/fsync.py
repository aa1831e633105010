"""Making sure that what was written is on the disk, whatever happens to the machine next."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Have the disk hold a file's bytes, or which names a folder has."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(folder: Path) -> None:
    """Have the disk hold everything in ``folder``, and its name; nothing if there is no such folder."""
    if folder.is_dir():
        for path in folder.rglob("*"):
            sync(path)
        sync(folder)
        sync(folder.parent)
