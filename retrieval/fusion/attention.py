"""Attention over the parts of an item: weights that depend on the content of the parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from retrieval.fusion.base import Parts
from retrieval.fusion.learned import RANK, LearnedFusion, learn, small
from retrieval.types import Matrix


class Attention(LearnedFusion):
    """z = sum of a_m x_m, where a is the softmax of v_m . tanh(U x_m) + b_m over the modalities present.

    Bahdanau et al., "Neural Machine Translation by Jointly Learning to Align and Translate" (2015), used for pooling as
    in Ilse et al., "Attention-based Deep Multiple Instance Learning" (2018). Before training it equals the mean.
    """

    @staticmethod
    def start(modalities: int, dimension: int, random: np.random.Generator) -> dict[str, Matrix]:
        """Return U (d, RANK), v (m, RANK) and b (m,)."""
        return {
            "inner": small(random, dimension, RANK),
            "outer": np.zeros((modalities, RANK), np.float32),
            "bias": np.zeros(modalities, np.float32),
        }

    @staticmethod
    def formula(xp: Any, values: Mapping[str, Any], vectors: Any, present: Any) -> Any:
        """Map (n, m, d) and (n, m) to (n, d). The logits are bounded, so the exponentials need no stabilisation."""
        logits = (xp.tanh(vectors @ values["inner"]) * values["outer"]).sum(2) + values["bias"]
        weights = present * xp.exp(logits)
        weights = weights / weights.sum(1)[:, None]
        return (weights[:, :, None] * vectors).sum(1)


def fit_attention(parts: Parts, seed: int) -> Attention:
    """Learn the attention weights."""
    return learn(Attention, parts, seed)
