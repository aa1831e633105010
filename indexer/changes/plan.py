"""What has to be done: a pure difference between what the sources hold and what is known."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from indexer.sources.corpus import Part
from retrieval.storage.catalog_writer import FailureRow
from retrieval.types import Modality

Place = tuple[str | None, int | None, str | None]
"""What a file is taken for, and where it stands: modality, position of its source, path in it."""


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as an earlier job met it.

    Attributes:
        size: in bytes.
        mtime_ns: when it had last been changed.
        content: its SHA-256 in hex; None if it could not be indexed.
        failure: why it could not be.
    """

    size: int | None
    mtime_ns: int | None
    content: str | None = None
    failure: FailureRow | None = None

    def is_still(self, part: Part) -> bool:
        """Whether ``part`` is the same file, unchanged by size and time."""
        return (self.size, self.mtime_ns) == (part.size, part.mtime_ns)


@dataclass(slots=True)
class Plan:
    """What to do about the files of a corpus.

    Attributes:
        read: files whose content is to be hashed: new, or changed by size or time.
        contents: the known content of each unchanged file.
        failed: unchanged files that could not be decoded before, with what was said of them then.
    """

    read: list[Part] = field(default_factory=list)
    contents: dict[Place, str] = field(default_factory=dict)
    failed: dict[Place, FailureRow] = field(default_factory=dict)


def place(part: Part) -> Place:
    """Where the file of ``part`` stands."""
    return str(part.modality), part.source, part.path


def files(parts: Iterable[Part], seen: Mapping[Place, KnownFile], *, retry_failed: bool) -> Plan:
    """Which files have to be read at all."""
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
    """What has to be encoded: for each content that no store has yet, one part that has it.

    Args:
        parts: each with its content's SHA-256.
        stored: by modality, the contents whose features are there.
    """
    wanted: dict[Modality, dict[str, Part]] = {modality: {} for modality in stored}
    for part, content in parts:
        if content not in stored[part.modality]:
            wanted[part.modality].setdefault(content, part)
    return wanted
