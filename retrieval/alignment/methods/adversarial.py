"""A contrastive head that also learns to hide which modality a vector came from.

After Wang et al., "Adversarial Cross-Modal Retrieval" (2017): a discriminator learns to tell the modalities apart,
and its gradient, reversed (Ganin and Lempitsky 2015), teaches the head to leave nothing to tell them by. The paper's
triplet loss is InfoNCE here, and its classifier of labels is left out, for items have none.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.methods.contrastive import Contrast
from retrieval.alignment.trained.fit_heads import fit_heads
from retrieval.alignment.trained.head import Batch

WEIGHT = 0.1
"""Of the discriminator's gradient beside that of the contrast."""

HIDDEN = 64
"""Units of the discriminator."""


def fit(data: TrainingData) -> Alignment:
    """A head trained by contrast against a discriminator of modalities, on the pairs alone.

    Raises:
        AlignmentError: as ``from_pairs``.
    """
    return fit_heads(
        "adversarial",
        data,
        lambda connections, columns: Adversary(len(connections.modalities), columns, data.seed),
    )


class Adversary(Contrast):
    """InfoNCE, and while training a discriminator's gradient, reversed."""

    def __init__(self, views: int, columns: int, seed: int) -> None:
        """For so many modalities and columns of the space; ``seed`` is of the discriminator's first weights."""
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            with torch.device("cpu"):  # the same numbers wherever they go
                drawn = _discriminator(columns, views)
            self._discriminator = _discriminator(columns, views)
        self._discriminator.load_state_dict(drawn.state_dict())

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of a batch; in evaluation that of the contrast alone, for the adversary's is a moving aim."""
        contrast = super().forward(batch)
        return contrast + self.told_apart(batch) if self.training else contrast

    def told_apart(self, batch: Batch) -> torch.Tensor:
        """The discriminator's cross-entropy, whose gradient reaches the rows reversed."""
        rows = torch.cat([_Reversed.apply(batch.first), _Reversed.apply(batch.second)])
        views = torch.tensor(batch.views).repeat_interleave(len(batch.items))
        return nn.functional.cross_entropy(self._discriminator(rows), views)


def _discriminator(columns: int, views: int) -> nn.Module:
    return nn.Sequential(nn.Linear(columns, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, views))


class _Reversed(torch.autograd.Function):
    """The identity, whose gradient is turned round and weighted."""

    @staticmethod
    def forward(_context: Any, rows: torch.Tensor) -> torch.Tensor:
        return rows.view_as(rows)

    @staticmethod
    def backward(_context: Any, gradient: torch.Tensor) -> torch.Tensor:
        return -WEIGHT * gradient
