"""SHA-256 of the content of a file, caption or vector; features are stored under it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from indexer.decoding.look_ahead import ahead
from indexer.decoding.media_file import MediaFile
from indexer.sources.corpus import Part
from retrieval.errors import MediaError
from retrieval.storage.catalog_writer import FailureRow


def content_of_text(text: str) -> str:
    """Return the SHA-256 of a caption, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def contents(parts: Iterable[Part], *, workers: int) -> Iterator[tuple[Part, str | MediaError]]:
    """Yield each part with the SHA-256 of its content, or with the error if it cannot be read."""
    return ahead(content, parts, workers=workers, depth=4 * workers)


def problem(part: Part, stage: str, error: MediaError) -> FailureRow:
    """Return the failure row of a part that failed."""
    where = part.path or (part.text or "")[:80]
    # File names in messages can hold lone surrogates, which SQLite and JSON do not accept.
    reason = str(error).encode(errors="backslashreplace").decode()
    return FailureRow(
        path=where,
        stage=stage,
        reason=reason,
        source=part.source,
        modality=str(part.modality),
        size=part.size,
        mtime_ns=part.mtime_ns,
    )


def content(part: Part) -> str:
    """Return the SHA-256, in hex, of a part's vector, text or file.

    Raises:
        MediaError: the file cannot be read, or changed since it was listed.
    """
    if part.vector is not None:
        return hashlib.sha256(np.ascontiguousarray(part.vector, dtype=np.float32).tobytes()).hexdigest()
    if part.file is None:
        return content_of_text(part.text or "")
    medium = media_file(part, part.file)
    digest = medium.sha256()
    medium.check()
    return digest


def media_file(part: Part, file: Path) -> MediaFile:
    """Return the file of ``part``; reading it fails if it has changed since it was listed."""
    return MediaFile(file.absolute(), part.size, part.mtime_ns, part.offset)
