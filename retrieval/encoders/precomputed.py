"""Precomputed vectors, indexed unchanged instead of encoding media."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from retrieval.encoders.base import WHOLE, ClassHead, EncoderSpec, Span
from retrieval.errors import MediaError, OptionError
from retrieval.types import Matrix, Modality


class Precomputed:
    """Passes feature rows through. The encoder that computed them is unknown, so no media can be encoded."""

    def __init__(self, modality: Modality, options: str) -> None:
        """Accept rows of ``modality`` whose dimension is the text ``options``.

        Raises:
            OptionError: ``options`` is not a whole number of at least 1.
        """
        if not options.isdecimal() or int(options) < 1:
            raise OptionError(
                f"given-{modality} needs the dimension of the vectors, as in given-{modality}:512"
            )
        self.spec = EncoderSpec(
            f"given-{modality}:{options}", modality, int(options), "none", "vectors as they were given"
        )

    numerics = "as given"

    def prepare(self, medium: Any) -> Matrix:
        """Return the vector itself, (d,) float32.

        Raises:
            MediaError: it is not a vector of this dimension with finite numbers.
        """
        if not isinstance(medium, np.ndarray):
            raise MediaError(
                f"this index holds precomputed {self.spec.modality} vectors from an unknown encoder, "
                "so it cannot encode a query: search by id, or pass a vector"
            )
        row: Matrix = np.asarray(medium, dtype=np.float32)
        if row.shape != (self.spec.dimension,) or not np.isfinite(row).all():
            raise MediaError(f"expected {self.spec.dimension} finite numbers, not shape {row.shape}")
        return row

    def encode(self, prepared: Sequence[Matrix]) -> Matrix:
        """Return the vectors as (n, d) float32."""
        if not prepared:
            return np.empty((0, self.spec.dimension), np.float32)
        return np.stack(prepared)

    def spans(self, _prepared: Matrix) -> Sequence[Span]:
        """Return ``WHOLE``: a vector describes the whole medium."""
        return WHOLE

    def class_head(self) -> ClassHead | None:
        """Return None: there is no classifier."""
        return None
