"""Low-rank outer product of the parts, which models their interactions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from retrieval.fusion.base import Parts
from retrieval.fusion.learned import RANK, LearnedFusion, learn, small
from retrieval.types import Matrix

FACTORS = 4


class LowRankTensor(LearnedFusion):
    """z = sum over r of the elementwise product over m of (1 + W_mr x_m), less 1.

    The outer product of all [1, x_m], multiplied by a tensor of rank R, without computing either: Liu et al.,
    "Efficient Low-rank Multimodal Fusion with Modality-Specific Factors" (2018). A missing part is a factor of 1.
    W_mr is a low-rank matrix, plus the identity for r = 0, so that training starts near the sum of the parts.
    """

    @staticmethod
    def start(modalities: int, dimension: int, random: np.random.Generator) -> dict[str, Matrix]:
        """Return the two factors of each W_mr: (R, m, d, RANK) and (R, m, RANK, d)."""
        return {
            "inner": small(random, FACTORS, modalities, dimension, RANK),
            "outer": np.zeros((FACTORS, modalities, RANK, dimension), np.float32),
        }

    @staticmethod
    def formula(xp: Any, values: Mapping[str, Any], vectors: Any, present: Any) -> Any:
        """Map (n, m, d) and (n, m) to (n, d)."""
        del present  # zeros are factors of 1
        low = xp.einsum("nmd,fmdr->fnmr", vectors, values["inner"])
        mapped = xp.einsum("fnmr,fmrd->fnmd", low, values["outer"])
        first = (1 + mapped[0] + vectors).prod(1)
        return first + (1 + mapped[1:]).prod(2).sum(0) - FACTORS


def fit_tensor(parts: Parts, seed: int) -> LowRankTensor:
    """Learn the factors."""
    return learn(LowRankTensor, parts, seed)
