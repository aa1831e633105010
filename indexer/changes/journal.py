"""What an unfinished job has found out, so that the next one does not find it out again."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from indexer.changes.plan import KnownFile, Place
from indexer.sources.corpus import Part
from retrieval.storage.catalog_writer import FailureRow


class Journal:
    """An append-only file of lines, each the content of a file or why it failed; gone when the job is done.

    A line that is cut off or damaged is passed over: then that file is read once more. Sources are named, since
    the next job may have them in another order.
    """

    def __init__(self, path: Path, sources: Sequence[str]) -> None:
        self._path = path
        self._sources = list(sources)
        self._file: IO[bytes] | None = None

    @contextmanager
    def open(self) -> Iterator[Journal]:
        """Have it take notes for as long as this lasts."""
        with self._path.open("ab", buffering=0) as self._file:
            self._file.write(b"\n")  # behind what a job that was killed may have left half written
            yield self
        self._file = None

    def note(self, part: Part, content: str) -> None:
        """Keep the SHA-256 of the file of ``part``."""
        self._write(part.source, [part.modality, part.path, part.size, part.mtime_ns, content])

    def fail(self, failures: Iterable[FailureRow]) -> None:
        """Keep why files failed."""
        for row in failures:
            if row.source is not None and row.stage == "decode":  # others are tried again
                known = [row.modality, row.path, row.size, row.mtime_ns, None, row.stage, row.reason]
                self._write(row.source, known)

    def _write(self, source: int, known: list[str | int | None]) -> None:
        if self._file is not None:
            line = json.dumps([self._sources[source], *known]).encode()
            self._file.write(b"%08x %s\n" % (zlib.crc32(line), line))

    def seen(self) -> dict[Place, KnownFile]:
        """The files of these sources that are noted."""
        found: dict[Place, KnownFile] = {}
        if not self._path.is_file():
            return found
        numbers = {source: number for number, source in enumerate(self._sources)}
        for line in self._path.read_bytes().splitlines():
            checksum, _, text = line.partition(b" ")
            if checksum != b"%08x" % zlib.crc32(text):
                continue
            source, modality, path, size, mtime_ns, content, *failure = json.loads(text)
            if source in numbers:
                number = numbers[source]
                found[modality, number, path] = KnownFile(size, mtime_ns, content)
                if failure:
                    stage, reason = failure
                    why = FailureRow(path, stage, reason, number, modality, size, mtime_ns)
                    found[modality, number, path] = KnownFile(size, mtime_ns, failure=why)
        return found

    def remove(self) -> None:
        """Drop it: what it says is in the catalog."""
        with suppress(FileNotFoundError):
            self._path.unlink()
