"""Summary of a job, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SHOWN_FAILURES = 100


@dataclass(slots=True)
class JobSummary:
    """Summary of a job.

    Attributes:
        items: number of items in the index now.
        assets: number of assets in the index now, by modality.
        encoded: number of contents that were encoded.
        reused: number of assets whose content had already been encoded.
        removed: number of assets that are no longer in the sources.
        failed: number of files and captions that could not be indexed.
        failures: path and reason of the first hundred failures; all of them are in the catalog.
        skipped: number of files without an encoder, by modality.
        generation: number of the published generation.
        alignment: alignment method in use.
        seconds: duration of the job.
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
        """Return plain values, as ``xmodal index --json`` prints them."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {**values, "seconds": round(self.seconds, 3), "assets_per_second": round(self.rate, 1)}

    @property
    def rate(self) -> float:
        """Assets per second."""
        return sum(self.assets.values()) / self.seconds if self.seconds else 0.0
