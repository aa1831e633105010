"""A linear map for each of several views, as a correction of where it starts, and the contrastive loss."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from retrieval.types import Matrix

FIRST = 1 / 0.07
"""The inverse temperature that training begins with, and the largest that it may reach: CLIP's."""
SHARPEST = 100.0

DROPPED = 0.1
"""Share of the inputs that a step does without."""


class Head(nn.Module):
    """z = unit(((x - center) @ basis) @ (weights + change)), a view each, and one temperature.

    The changes are what is learned: zero at first, and drawn to zero by the decay of weights.
    """

    def __init__(self, starts: Sequence[tuple[Matrix, Matrix, Matrix]], seed: int) -> None:
        """Begin with (center, basis, weights) of each view: (d,), (d, k) and (k, m) float32.

        ``seed`` is that of what a step does without.
        """
        super().__init__()
        self._starts = [tuple(map(torch.from_numpy, start)) for start in starts]
        self._changes = nn.ParameterList(torch.zeros_like(weights) for _, _, weights in self._starts)
        self._logarithm = nn.Parameter(torch.tensor(math.log(FIRST)))
        self._random = torch.Generator().manual_seed(seed)

    def sharpness(self) -> torch.Tensor:
        """The inverse temperature."""
        return self._logarithm.exp().clamp(max=SHARPEST)

    def loss(self, views: tuple[int, int], rows: Sequence[Matrix]) -> torch.Tensor:
        """The contrastive loss of the (n, d_v) rows of two views, row i of each being partners."""
        first, second = (
            self._unit(view, torch.from_numpy(each)) for view, each in zip(views, rows, strict=True)
        )
        return info_nce(first, second, self.sharpness())

    def _unit(self, view: int, rows: torch.Tensor) -> torch.Tensor:
        center, basis, weights = self._starts[view]
        inputs = (rows - center) @ basis
        if self.training:
            kept = torch.rand(inputs.shape, generator=self._random) >= DROPPED
            inputs = inputs * kept / (1 - DROPPED)
        return nn.functional.normalize(inputs @ (weights + self._changes[view]), dim=1)

    def folded(self, view: int) -> tuple[Matrix, Matrix]:
        """(d, m) and (m,) float32 W and b of a view: z = unit(x @ W - b)."""
        center, basis, weights = self._starts[view]
        linear = basis @ (weights + self._changes[view].detach())
        return linear.numpy(), (center @ linear).numpy()


def info_nce(first: torch.Tensor, second: torch.Tensor, sharpness: torch.Tensor) -> torch.Tensor:
    """The symmetric contrastive loss of unit rows (n, m), row i of each being partners.

    Rows that are the same in one view, such as a caption that two pictures have, are no wrong partners.

    Args:
        first: of one view.
        second: of the other.
        sharpness: the inverse temperature.
    """
    scores = sharpness * first @ second.T
    with torch.no_grad():
        same = (first @ first.T > 1 - 1e-6) | (second @ second.T > 1 - 1e-6)
        same.fill_diagonal_(False)
    scores = scores.masked_fill(same, -torch.inf)
    right = torch.arange(len(scores))
    both = [nn.functional.cross_entropy(each, right) for each in (scores, scores.T)]
    return torch.stack(both).mean()
