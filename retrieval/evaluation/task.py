"""What asks for what: a pair of modalities, or a modality for whole items."""

from __future__ import annotations

import re
from dataclasses import dataclass

from retrieval.errors import OptionError
from retrieval.types import ITEM, Modality, Target


@dataclass(frozen=True, slots=True)
class Task:
    """Queries of one modality against a pool of another, or of items. Its text parses back: ``text-to-image``."""

    query: Modality
    target: Target

    def __str__(self) -> str:
        return f"{self.query}-to-{self.target}"

    @classmethod
    def parse(cls, text: str) -> Task:
        """The task called ``text``.

        Raises:
            OptionError: it is not two modalities joined by ``-to-``, of which the second may be ``item``.
        """
        match = re.fullmatch(r"(\w+)-to-(\w+)", text)
        if match is None:
            raise OptionError(
                f"unknown task {text!r}: expected A-to-B, such as text-to-image or text-to-item"
            )
        return cls(Modality.parse(match[1]), ITEM if match[2] == ITEM else Modality.parse(match[2]))
