"""Result of a verification: each damage, its consequences, and its remedy."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from retrieval.storage.manifest import Manifest


class Remedy(StrEnum):
    """How a damage is repaired."""

    RESTORE = "restore"
    """Restore it from its other copy."""
    REBUILD = "rebuild"
    """Project and index the stored features again."""
    ENCODE = "encode"
    """Encode the content of the rows again."""
    DROP = "drop"
    """Delete it, because nothing needs it."""
    INDEX = "index"
    """Only ``xmodal index`` with the sources helps."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Damage of one file or feature store of an index folder.

    Attributes:
        path: path of the file or the folder of features, relative to the index folder.
        problem: description of the damage.
        hurts: description of its consequences.
        remedy: how it is repaired.
        modalities: modalities whose assets are affected.
        items: ids of the affected items, if not all are affected.
        rows: numbers of the damaged feature rows.
    """

    path: str
    problem: str
    hurts: str
    remedy: Remedy
    modalities: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    rows: tuple[int, ...] = field(default=(), repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as printed by ``xmodal verify --json``."""
        return {
            "path": self.path,
            "problem": self.problem,
            "hurts": self.hurts,
            "remedy": str(self.remedy),
            "modalities": list(self.modalities),
            "items": list(self.items),
            "rows": list(self.rows),
        }


@dataclass(slots=True)
class Verdict:
    """Result of a verification.

    Attributes:
        manifest: the published manifest; if it is damaged, its newest intact copy; None if there is none.
        files: number of files read.
        rows: number of feature rows read.
        damages: all damage found.
        strays: files that belong to no published generation; they are not checked and not needed.
    """

    manifest: Manifest | None
    files: int = 0
    rows: int = 0
    damages: list[Damage] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """True if nothing is damaged."""
        return not self.damages

    def with_remedy(self, *remedies: Remedy) -> list[Damage]:
        """Return the damages that have one of these remedies."""
        return [damage for damage in self.damages if damage.remedy in remedies]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as printed by ``xmodal verify --json``."""
        return {
            "whole": self.is_whole,
            "generation": self.manifest.generation if self.manifest else None,
            "files": self.files,
            "rows": self.rows,
            "damages": [damage.as_dict() for damage in self.damages],
            "strays": self.strays,
        }
