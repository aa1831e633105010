"""Journal of an unfinished job: content hashes and failures that the next job need not determine again."""

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
    """Append-only file with one line per file: its content hash, or why it failed. Removed at the end of the job.

    Lines that are incomplete or damaged are skipped; their files are read again. Lines contain the source's name,
    because the next job may list the sources in another order.
    """

    def __init__(self, path: Path, sources: Sequence[str]) -> None:
        self._path = path
        self._sources = list(sources)
        self._file: IO[bytes] | None = None

    @contextmanager
    def open(self) -> Iterator[Journal]:
        """Open the journal for writing within this context."""
        with self._path.open("ab", buffering=0) as self._file:
            self._file.write(b"\n")  # ends a line that a killed job may have left incomplete
            yield self
        self._file = None

    def note(self, part: Part, content: str) -> None:
        """Record the SHA-256 of the file of ``part``."""
        self._write(part.source, [part.modality, part.path, part.size, part.mtime_ns, content])

    def fail(self, failures: Iterable[FailureRow]) -> None:
        """Record failures of decoding."""
        for row in failures:
            if row.source is not None and row.stage == "decode":  # other failures are tried again
                known = [row.modality, row.path, row.size, row.mtime_ns, None, row.stage, row.reason]
                self._write(row.source, known)

    def _write(self, source: int, known: list[str | int | None]) -> None:
        if self._file is not None:
            line = json.dumps([self._sources[source], *known]).encode()
            self._file.write(b"%08x %s\n" % (zlib.crc32(line), line))

    def seen(self) -> dict[Place, KnownFile]:
        """Return the recorded files of these sources."""
        known_files: dict[Place, KnownFile] = {}
        if not self._path.is_file():
            return known_files
        numbers = {source: number for number, source in enumerate(self._sources)}
        for line in self._path.read_bytes().splitlines():
            checksum, _, text = line.partition(b" ")
            if checksum != b"%08x" % zlib.crc32(text):
                continue
            source, modality, path, size, mtime_ns, content, *failure = json.loads(text)
            if source in numbers:
                number = numbers[source]
                known_files[modality, number, path] = KnownFile(size, mtime_ns, content)
                if failure:
                    stage, reason = failure
                    row = FailureRow(
                        path=path,
                        stage=stage,
                        reason=reason,
                        source=number,
                        modality=modality,
                        size=size,
                        mtime_ns=mtime_ns,
                    )
                    known_files[modality, number, path] = KnownFile(size, mtime_ns, failure=row)
        return known_files

    def remove(self) -> None:
        """Delete the journal; its content is in the catalog."""
        with suppress(FileNotFoundError):
            self._path.unlink()
