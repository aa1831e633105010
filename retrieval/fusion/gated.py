"""Gated sum: the content of the item sets a gate for every dimension of every part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from retrieval.fusion.base import Parts
from retrieval.fusion.learned import RANK, LearnedFusion, learn, small
from retrieval.types import Matrix


class Gated(LearnedFusion):
    """z = sum of g_m * x_m over the modalities present, g_m = 2 sigmoid(V_m U [x_1 + ... + x_m] + b_m).

    After the gated multimodal unit (Arevalo et al. 2017), with low-rank gates. Before training it equals the mean.
    """

    @staticmethod
    def start(modalities: int, dimension: int, random: np.random.Generator) -> dict[str, Matrix]:
        """Return U (d, RANK), V (m, RANK, d) and b (m, d)."""
        return {
            "inner": small(random, dimension, RANK),
            "outer": np.zeros((modalities, RANK, dimension), np.float32),
            "bias": np.zeros((modalities, dimension), np.float32),
        }

    @staticmethod
    def formula(xp: Any, values: Mapping[str, Any], vectors: Any, present: Any) -> Any:
        """Map (n, m, d) and (n, m) to (n, d); a missing part is zeros, so its gate has no effect."""
        del present
        summed = vectors.sum(1)
        length = xp.sqrt((summed * summed).sum(1) + 1e-12)[:, None]
        logits = xp.einsum("nr,mrd->nmd", (summed / length) @ values["inner"], values["outer"])
        gates = 2 / (1 + xp.exp(-logits - values["bias"]))
        return (gates * vectors).sum(1)


def fit_gated(parts: Parts, seed: int) -> Gated:
    """Learn the gates."""
    return learn(Gated, parts, seed)
