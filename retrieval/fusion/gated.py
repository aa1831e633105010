"""Every dimension of every part opened or shut by what the item has."""

from __future__ import annotations

import torch
from torch import nn

from retrieval.fusion.base import Parts
from retrieval.fusion.learned import RANK, Learned, learn, seeded, small


class Gated(nn.Module):
    """z = sum of g_m * x_m over what is there, g_m = 2 sigmoid(V_m U [x_1 + ... + x_m] + b_m).

    After the gated multimodal unit (Arevalo et al. 2017), its gates of low rank. It begins as the mean.
    """

    def __init__(self, modalities: int, dimension: int, seed: int) -> None:
        super().__init__()
        self._inner = small(dimension, RANK, random=seeded(seed))
        self._outer = nn.Parameter(torch.zeros(modalities, RANK, dimension))
        self._bias = nn.Parameter(torch.zeros(modalities, dimension))

    def forward(self, vectors: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """(n, d) of (n, m, d) and (n, m); what lacks is zeros, and its gate opens on nothing."""
        del present
        seen = nn.functional.normalize(vectors.sum(dim=1), dim=1) @ self._inner
        gates = 2 * torch.sigmoid(torch.einsum("nr,mrd->nmd", seen, self._outer) + self._bias)
        return (gates * vectors).sum(dim=1)


def fit_gated(parts: Parts, seed: int) -> Learned:
    """Learn the gates."""
    return learn(Gated(len(parts.modalities), parts.vectors.shape[2], seed), parts, seed)
