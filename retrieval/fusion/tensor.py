"""What parts say together: a low-rank outer product of them."""

from __future__ import annotations

import torch
from torch import nn

from retrieval.fusion.base import Parts
from retrieval.fusion.learned import RANK, Learned, learn, seeded, small

FACTORS = 4


class LowRankTensor(nn.Module):
    """z = sum over r of the elementwise product over m of (1 + W_mr x_m), less 1.

    The outer product of all [1, x_m], multiplied by a tensor of rank R, without making either: Liu et al., "Efficient
    Low-rank Multimodal Fusion with Modality-Specific Factors" (2018). A part that lacks is a factor of 1. W_mr is one
    matrix of low rank beside the identity for r = 0, so that it begins near the sum of the parts.
    """

    def __init__(self, modalities: int, dimension: int, seed: int) -> None:
        super().__init__()
        self._inner = small(FACTORS, modalities, dimension, RANK, random=seeded(seed))
        self._outer = nn.Parameter(torch.zeros(FACTORS, modalities, RANK, dimension))

    def forward(self, vectors: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """(n, d) of (n, m, d) and (n, m)."""
        del present  # zeros are factors of 1
        low = torch.einsum("nmd,fmdr->fnmr", vectors, self._inner)
        mapped = torch.einsum("fnmr,fmrd->fnmd", low, self._outer)
        first = torch.zeros(FACTORS, 1, 1, 1)
        first[0] = 1.0
        return ((1 + mapped + first * vectors).prod(dim=2) - 1).sum(dim=0)


def fit_tensor(parts: Parts, seed: int) -> Learned:
    """Learn the factors."""
    return learn(LowRankTensor(len(parts.modalities), parts.vectors.shape[2], seed), parts, seed)
