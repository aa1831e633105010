"""No encoder at all: vectors that somebody else made, indexed as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from retrieval.encoders.base import WHOLE, ClassHead, EncoderSpec, Span
from retrieval.errors import MediaError, OptionError
from retrieval.types import Matrix, Modality


class Precomputed:
    """Passes feature rows through. What made them is not known here, so that no other medium can be encoded."""

    def __init__(self, modality: Modality, options: str) -> None:
        """Take rows of ``modality`` whose dimension is ``options``, as text.

        Raises:
            OptionError: that is no whole number of at least 1.
        """
        if not options.isdecimal() or int(options) < 1:
            raise OptionError(f"given-{modality} takes the vectors' dimension, as in given-{modality}:512")
        self.spec = EncoderSpec(
            f"given-{modality}:{options}", modality, int(options), "none", "vectors as they were given"
        )

    numerics = "as given"

    def prepare(self, medium: Any) -> Matrix:
        """The vector itself, (d,) float32.

        Raises:
            MediaError: it is no such vector.
        """
        if not isinstance(medium, np.ndarray):
            raise MediaError(
                f"the {self.spec.modality} vectors of this index were given to it, and what made them is not "
                "known: ask by id, or by a vector"
            )
        row: Matrix = np.asarray(medium, dtype=np.float32)
        if row.shape != (self.spec.dimension,) or not np.isfinite(row).all():
            raise MediaError(f"expected {self.spec.dimension} finite numbers, not shape {row.shape}")
        return row

    def encode(self, prepared: Sequence[Matrix]) -> Matrix:
        """(n, d) float32."""
        if not prepared:
            return np.empty((0, self.spec.dimension), np.float32)
        return np.stack(prepared)

    def spans(self, _prepared: Matrix) -> Sequence[Span]:
        """A vector is of the whole."""
        return WHOLE

    def class_head(self) -> ClassHead | None:
        """None."""
        return None
