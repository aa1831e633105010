"""What a job did, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SHOWN_FAILURES = 100


@dataclass(slots=True)
class JobSummary:
    """What a job did.

    Attributes:
        items: in the index now.
        assets: in the index now, a modality.
        encoded: contents that were encoded.
        reused: assets whose content had been encoded already.
        removed: assets that are no longer in the sources.
        failed: what could not be indexed.
        failures: the first hundred of those, path and reason; all of them are in the catalog.
        skipped: files of modalities that the index has no encoder for.
        generation: the published one.
        alignment: the method in use.
        seconds: the job took.
    """

    items: int = 0
    assets: dict[str, int] = field(default_factory=dict)
    encoded: int = 0
    reused: int = 0
    removed: int = 0
    failed: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    generation: int = 0
    alignment: str = ""
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as ``xmodal index --json`` prints them."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {**values, "seconds": round(self.seconds, 3), "assets_per_second": round(self.rate, 1)}

    @property
    def rate(self) -> float:
        """Assets a second."""
        return sum(self.assets.values()) / self.seconds if self.seconds else 0.0
