"""What a verification has to say: each damage, what it hurts, and what helps."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from retrieval.storage.manifest import Manifest


class Remedy(StrEnum):
    """What helps against a damage."""

    RESTORE = "restore"
    """The other copy of the manifest."""
    REBUILD = "rebuild"
    """Projecting and indexing the stored features anew."""
    ENCODE = "encode"
    """Encoding what the rows were of anew."""
    DROP = "drop"
    """Dropping it, for nothing needs it."""
    INDEX = "index"
    """``xmodal index`` with the sources, and nothing else."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Something in an index folder that is not what was written.

    Attributes:
        path: of the file, or the folder of features, relative to the index folder.
        problem: what is wrong with it.
        hurts: what suffers, in words.
        remedy: what helps.
        modalities: those whose assets are hurt.
        items: where only some are hurt, their ids.
        rows: the numbers of damaged feature rows.
    """

    path: str
    problem: str
    hurts: str
    remedy: Remedy
    modalities: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    rows: tuple[int, ...] = field(default=(), repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as ``xmodal verify --json`` prints them."""
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
    """What a verification found.

    Attributes:
        manifest: the published one; if that is damaged its newest copy; None if no copy is left either.
        files: how many were read.
        rows: how many feature rows were.
        damages: what is not what was written.
        strays: files that belong to no published generation: not checked, and not needed.
    """

    manifest: Manifest | None
    files: int = 0
    rows: int = 0
    damages: list[Damage] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damages

    def with_remedy(self, *remedies: Remedy) -> list[Damage]:
        """The damages that one of these helps against."""
        return [damage for damage in self.damages if damage.remedy in remedies]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as ``xmodal verify --json`` prints them."""
        return {
            "whole": self.is_whole,
            "generation": self.manifest.generation if self.manifest else None,
            "files": self.files,
            "rows": self.rows,
            "damages": [damage.as_dict() for damage in self.damages],
            "strays": self.strays,
        }
