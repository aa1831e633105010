"""What asks for what: a pair of modalities."""

from __future__ import annotations

import re
from dataclasses import dataclass

from retrieval.errors import OptionError
from retrieval.types import Modality


@dataclass(frozen=True, slots=True)
class Task:
    """Queries of one modality against a pool of another. Its text parses back: ``text-to-image``."""

    query: Modality
    target: Modality

    def __str__(self) -> str:
        return f"{self.query}-to-{self.target}"

    @classmethod
    def parse(cls, text: str) -> Task:
        """The task called ``text``.

        Raises:
            OptionError: it is not two modalities joined by ``-to-``.
        """
        match = re.fullmatch(r"(\w+)-to-(\w+)", text)
        if match is None:
            raise OptionError(f"unknown task {text!r}: expected A-to-B, such as text-to-image")
        return cls(Modality.parse(match[1]), Modality.parse(match[2]))
