"""Parts weighed by what they say: attention over an item's parts."""

from __future__ import annotations

import torch
from torch import nn

from retrieval.fusion.base import Parts
from retrieval.fusion.learned import RANK, Learned, learn, seeded, small


class Attention(nn.Module):
    """z = sum of a_m x_m, a the softmax over what is there of v_m . tanh(U x_m) + b_m.

    Bahdanau et al., "Neural Machine Translation by Jointly Learning to Align and Translate" (2015), as Ilse et al.,
    "Attention-based Deep Multiple Instance Learning" (2018) pool by it. It begins as the mean.
    """

    def __init__(self, modalities: int, dimension: int, seed: int) -> None:
        super().__init__()
        self._inner = small(dimension, RANK, random=seeded(seed))
        self._outer = nn.Parameter(torch.zeros(modalities, RANK))
        self._bias = nn.Parameter(torch.zeros(modalities))

    def forward(self, vectors: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """(n, d) of (n, m, d) and (n, m)."""
        logits = (torch.tanh(vectors @ self._inner) * self._outer).sum(dim=2) + self._bias
        weights = logits.masked_fill(~present, -torch.inf).softmax(dim=1)
        return (weights[:, :, None] * vectors).sum(dim=1)


def fit_attention(parts: Parts, seed: int) -> Learned:
    """Learn what to attend to."""
    return learn(Attention(len(parts.modalities), parts.vectors.shape[2], seed), parts, seed)
