"""Tasks: a query modality and a target, which is a modality or whole items."""

from __future__ import annotations

import re
from dataclasses import dataclass

from retrieval.errors import OptionError
from retrieval.types import ITEM, Modality, Target


@dataclass(frozen=True, slots=True)
class Task:
    """Queries of one modality against a pool of another, or of items. Its text, like ``text-to-image``, parses back."""

    query: Modality
    target: Target

    def __str__(self) -> str:
        return f"{self.query}-to-{self.target}"

    @classmethod
    def parse(cls, text: str) -> Task:
        """Return the task that ``text`` names.

        Raises:
            OptionError: it is not two modalities joined by ``-to-``; the second may be ``item``.
        """
        match = re.fullmatch(r"(\w+)-to-(\w+)", text)
        if match is None:
            raise OptionError(
                f"unknown task {text!r}: expected A-to-B, for example text-to-image or text-to-item"
            )
        return cls(Modality.parse(match[1]), ITEM if match[2] == ITEM else Modality.parse(match[2]))
