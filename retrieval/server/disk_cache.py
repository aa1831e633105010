"""Files that were dear to make, kept on disk up to a bound; those not used for longest go first."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

MAX_BYTES = 256 * 2**20


class DiskCache:
    """Bytes by key, in one folder. Any number of threads, and of servers, may share it."""

    def __init__(self, folder: Path, most: int = MAX_BYTES) -> None:
        """Keep files in ``folder``, or where that cannot be written to, in one of this server's own.

        Args:
            folder: made when it is missing.
            most: bytes of all files together.
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
        self._folder, self._most = folder, most
        self._held = sum(size for _, size, _ in self._files())
        self._lock = threading.Lock()

    def close(self) -> None:
        """Remove the folder if it is this server's own."""
        if self._temporary is not None:
            self._temporary.cleanup()

    def get(self, key: str) -> bytes | None:
        """What was put under ``key``, if it is still there."""
        path = self._path(key)
        try:
            data = path.read_bytes()
            os.utime(path)  # used now
        except OSError:
            return None
        return data

    def put(self, key: str, data: bytes) -> None:
        """Keep ``data`` under ``key``, if there is room on the disk: if not, it will be made again."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)  # it may be deleted at any time
            with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".new", delete=False) as file:
                file.write(data)
            Path(file.name).replace(self._path(key))
        except OSError:
            return
        with self._lock:
            self._held += len(data)
            if self._held > self._most:
                self._sweep()

    def _sweep(self) -> None:
        """Remove the oldest until a tenth is free, so that it is not swept again at once."""
        files = sorted(self._files())
        self._held = sum(size for _, size, _ in files)
        for _, size, path in files:
            if self._held <= 0.9 * self._most:
                return
            with suppress(OSError):
                path.unlink()
            self._held -= size

    def _files(self) -> list[tuple[int, int, Path]]:
        """When each was used last, its size, and its path."""
        found = []
        for path in self._folder.iterdir():
            with suppress(OSError):  # another server's sweep
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, path))
        return found

    def _path(self, key: str) -> Path:
        return self._folder / hashlib.sha256(key.encode()).hexdigest()
