"""Plan of a job: the difference between the sources and what is known, without any side effect."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from indexer.sources.corpus import Part
from retrieval.storage.catalog_writer import FailureRow
from retrieval.types import Modality

Place = tuple[str | None, int | None, str | None]
"""Identifies a file: modality, position of its source, path within the source."""


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as an earlier job recorded it.

    Attributes:
        size: in bytes.
        mtime_ns: modification time.
        content: SHA-256 in hex; None if it could not be indexed.
        failure: why it could not be indexed.
    """

    size: int | None
    mtime_ns: int | None
    content: str | None = None
    failure: FailureRow | None = None

    def is_still(self, part: Part) -> bool:
        """Return whether ``part`` has the same size and modification time."""
        return (self.size, self.mtime_ns) == (part.size, part.mtime_ns)


@dataclass(slots=True)
class Plan:
    """What to do with the files of a corpus.

    Attributes:
        read: files to hash: new ones, and those whose size or modification time changed.
        contents: known content hash of each unchanged file.
        failed: unchanged files that could not be decoded before, with the recorded failure.
    """

    read: list[Part] = field(default_factory=list)
    contents: dict[Place, str] = field(default_factory=dict)
    failed: dict[Place, FailureRow] = field(default_factory=dict)


def place(part: Part) -> Place:
    """Return the key of the file of ``part``."""
    return str(part.modality), part.source, part.path


def files(parts: Iterable[Part], seen: Mapping[Place, KnownFile], *, retry_failed: bool) -> Plan:
    """Decide which files to read: those that are new, changed, or to be tried again."""
    plan = Plan()
    for part in parts:
        before = seen.get(place(part))
        if part.file is None:
            continue
        if before is None or not before.is_still(part):
            plan.read.append(part)
        elif before.content is not None:
            plan.contents[place(part)] = before.content
        elif before.failure is not None and not retry_failed:
            plan.failed[place(part)] = before.failure
        else:
            plan.read.append(part)
    return plan


def encodings(
    parts: Iterable[tuple[Part, str]], stored: Mapping[Modality, Container[str]]
) -> dict[Modality, dict[str, Part]]:
    """Return what to encode: for each content that no store has yet, one part with this content.

    Args:
        parts: parts with their content hashes.
        stored: content hashes with stored features, by modality.
    """
    missing: dict[Modality, dict[str, Part]] = {modality: {} for modality in stored}
    for part, content in parts:
        if content not in stored[part.modality]:
            missing[part.modality].setdefault(content, part)
    return missing
