"""Disk cache of limited size that evicts the least recently used files."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

MAX_BYTES = 256 * 2**20


class DiskCache:
    """Bytes by key, in one folder. Several threads and several servers may share it."""

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        """Keep files in ``folder``, or in a temporary folder if ``folder`` is not writable.

        Args:
            folder: created if it is missing.
            max_bytes: limit on the total size of all files.
        """
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            writable = os.access(folder, os.W_OK)
        except OSError:
            writable = False
        if not writable:
            self._temporary = tempfile.TemporaryDirectory(prefix="xmodal-")
            folder = Path(self._temporary.name)
        self._folder, self._max_bytes = folder, max_bytes
        self._size = sum(size for _, size, _ in self._files())
        self._lock = threading.Lock()

    def close(self) -> None:
        """Remove the folder if it is a temporary one."""
        if self._temporary is not None:
            self._temporary.cleanup()

    def get(self, key: str) -> bytes | None:
        """Return the data stored under ``key``, or None if it is not cached."""
        path = self._path(key)
        try:
            data = path.read_bytes()
            os.utime(path)  # marks it as used now
        except OSError:
            return None
        return data

    def put(self, key: str, data: bytes) -> None:
        """Store ``data`` under ``key``; skipped without an error if the disk is full."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)  # the folder may be deleted at any time
            with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".new", delete=False) as file:
                file.write(data)
            Path(file.name).replace(self._path(key))
        except OSError:
            return
        with self._lock:
            self._size += len(data)
            if self._size > self._max_bytes:
                self._evict()

    def _evict(self) -> None:
        """Remove the least recently used files until a tenth is free, so that the next eviction is not due at once."""
        files = sorted(self._files())
        self._size = sum(size for _, size, _ in files)
        for _, size, path in files:
            if self._size <= 0.9 * self._max_bytes:
                return
            with suppress(OSError):
                path.unlink()
            self._size -= size

    def _files(self) -> list[tuple[int, int, Path]]:
        """Return the time of last use in nanoseconds, the size and the path of each file."""
        files = []
        for path in self._folder.iterdir():
            with suppress(OSError):  # another server may have evicted it
                status = path.stat()
                files.append((status.st_mtime_ns, status.st_size, path))
        return files

    def _path(self, key: str) -> Path:
        return self._folder / hashlib.sha256(key.encode()).hexdigest()
