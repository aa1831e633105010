"""A linear head trained so that partners find each other among all others.

The loss is the symmetric InfoNCE of Radford et al., "Learning Transferable Visual Models From Natural Language
Supervision" (2021): of a batch of items, the cross-entropy of the right partner, both ways, at a learned
temperature.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.trained.fit_heads import fit_heads
from retrieval.alignment.trained.head import Batch, Objective, same

FIRST = 1 / 0.07
"""The inverse temperature that training begins with, and the largest that it may reach: CLIP's."""
SHARPEST = 100.0


def fit(data: TrainingData) -> Alignment:
    """A head trained contrastively on the pairs alone.

    Raises:
        AlignmentError: as ``from_pairs``.
    """
    return fit_heads("contrastive", data, lambda _connections, _columns: Contrast())


class Contrast(Objective):
    """Symmetric InfoNCE at a learned temperature."""

    def __init__(self) -> None:
        super().__init__()
        self._logarithm = nn.Parameter(torch.tensor(math.log(FIRST)))

    def sharpness(self) -> torch.Tensor:
        """The inverse temperature."""
        return self._logarithm.exp().clamp(max=SHARPEST)

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of a batch."""
        return info_nce(batch.first, batch.second, self.sharpness())

    def report(self) -> dict[str, object]:
        """The temperature it came to."""
        return {"inverse_temperature": self.sharpness().item()}


def info_nce(first: torch.Tensor, second: torch.Tensor, sharpness: torch.Tensor) -> torch.Tensor:
    """The symmetric contrastive loss of unit rows (n, m), row i of each being partners.

    Rows that are the same in one view, such as a caption that two pictures have, are no wrong partners.

    Args:
        first: of one view.
        second: of the other.
        sharpness: the inverse temperature.
    """
    scores = (sharpness * first @ second.T).masked_fill(same(first, second), -torch.inf)
    right = torch.arange(len(scores))
    both = [nn.functional.cross_entropy(each, right) for each in (scores, scores.T)]
    return torch.stack(both).mean()
