"""Content hash of each file of a corpus: taken from earlier jobs, or else computed by reading the file."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from indexer.changes import content_hash, plan
from indexer.changes.plan import KnownFile, Place
from indexer.progress import Progress
from indexer.sources.corpus import Part
from retrieval.storage.catalog import Catalog
from retrieval.storage.catalog_writer import FailureRow
from retrieval.storage.schema import Asset
from retrieval.types import Modality


@dataclass(slots=True)
class FileContents:
    """Content hashes and failures of a corpus, before anything is decoded.

    Attributes:
        contents: SHA-256 of each file, by its key.
        failed: files that could not be decoded before and are not tried again, with the recorded failure.
        unreadable: failures of files that cannot be read now.
    """

    contents: dict[Place, str] = field(default_factory=dict)
    failed: dict[Place, FailureRow] = field(default_factory=dict)
    unreadable: list[FailureRow] = field(default_factory=list)

    def content(self, part: Part) -> str | None:
        """Return the SHA-256 of ``part``; None for a file that cannot be read, or could not be decoded before."""
        if part.file is None:
            return content_hash.content(part)
        return self.contents.get(plan.place(part))

    def named(self, parts: Iterable[Part]) -> list[tuple[Part, str]]:
        """Return the parts that can be encoded, with their content hashes."""
        return [(part, content) for part in parts if (content := self.content(part)) is not None]


def read_contents(
    parts: Sequence[Part],
    known: Mapping[Place, KnownFile],
    *,
    retry_failed: bool,
    workers: int,
    progress: Progress,
    note: Callable[[Part, str], None],
) -> FileContents:
    """Determine the content hash of every file; only new and changed files are read.

    Args:
        parts: parts of a corpus.
        known: files recorded by earlier jobs.
        retry_failed: whether to try files again that could not be decoded.
        workers: number of files read at once.
        progress: receives the progress.
        note: called with each part that was read and its content hash.
    """
    todo = plan.files(parts, known, retry_failed=retry_failed)
    reading = FileContents(todo.contents, todo.failed)
    with progress("reading", len(todo.read)) as advance:
        for part, outcome in content_hash.contents(todo.read, workers=workers):
            advance(1)
            if isinstance(outcome, str):
                reading.contents[plan.place(part)] = outcome
                note(part, outcome)
            else:
                reading.unreadable.append(content_hash.problem(part, "read", outcome))
    return reading


def unmoved(before: Sequence[str], now: Sequence[str]) -> set[int]:
    """Return the positions in the list of sources that have the same source as before."""
    return {at for at, (old, new) in enumerate(zip(before, now, strict=False)) if old == new}


def known_files(catalog: Catalog, sources: Container[int | None]) -> dict[Place, KnownFile]:
    """Return the files, including failed ones, that the catalog has of the sources at these positions."""
    files: dict[Place, KnownFile] = {}
    known = select(Asset.modality, Asset.source, Asset.path, Asset.size, Asset.mtime_ns, Asset.content)
    with catalog.session() as session:
        for modality, source, path, size, mtime_ns, content in session.execute(
            known.where(Asset.modality != str(Modality.TEXT), Asset.start.is_(None))
        ):
            if source in sources:
                files[modality, source, path] = KnownFile(size, mtime_ns, content)
    for failure in catalog.failures():
        if failure.stage == "decode" and failure.source in sources:
            row = FailureRow(**{name: getattr(failure, name) for name in FailureRow.__slots__})
            files[row.modality, row.source, row.path] = KnownFile(row.size, row.mtime_ns, failure=row)
    return files
