"""Flush files to disk, so that they survive a crash of the machine."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Flush a file's bytes, or a folder's list of names, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(folder: Path) -> None:
    """Flush everything in ``folder``, and its own name, to disk; do nothing if the folder does not exist."""
    if folder.is_dir():
        for path in folder.rglob("*"):
            sync(path)
        sync(folder)
        sync(folder.parent)
