"""A contrastive head that is also trained to hide the modality of a vector.

After Wang et al., "Adversarial Cross-Modal Retrieval" (2017): a discriminator is trained to tell the modalities apart.
Its reversed gradient (Ganin and Lempitsky 2015) trains the head to make them indistinguishable. Two differences from
the paper: InfoNCE replaces the triplet loss, and there is no label classifier, because items have no labels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.methods.contrastive import ContrastiveObjective
from retrieval.alignment.trained.fit_heads import fit_heads
from retrieval.alignment.trained.head import Batch

ADVERSARY_WEIGHT = 0.1
"""Weight of the discriminator's gradient, relative to the gradient of the contrastive loss."""

HIDDEN_UNITS = 64
"""Hidden units of the discriminator."""


def fit(data: TrainingData) -> Alignment:
    """Train heads with a contrastive loss and against a modality discriminator, on the pairs alone.

    Raises:
        AlignmentError: as ``from_pairs``.
    """
    return fit_heads(
        "adversarial",
        data,
        lambda connections, columns: AdversarialObjective(len(connections.modalities), columns, data.seed),
    )


class AdversarialObjective(ContrastiveObjective):
    """InfoNCE plus, in training, the reversed gradient of a modality discriminator."""

    def __init__(self, views: int, columns: int, seed: int) -> None:
        """Create the discriminator.

        Args:
            views: number of modalities.
            columns: columns of the space.
            seed: of the discriminator's initial weights.
        """
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            with torch.device("cpu"):  # same numbers for every device
                initial = _discriminator(columns, views)
            self._discriminator = _discriminator(columns, views)
        self._discriminator.load_state_dict(initial.state_dict())

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the loss of a batch; in evaluation only the contrastive loss, for the adversary's target moves."""
        contrast = super().forward(batch)
        return contrast + self.discriminator_loss(batch) if self.training else contrast

    def discriminator_loss(self, batch: Batch) -> torch.Tensor:
        """Return the discriminator's cross-entropy; its gradient reaches the rows with the sign reversed."""
        rows = torch.cat([_ReverseGradient.apply(batch.first), _ReverseGradient.apply(batch.second)])
        views = torch.tensor(batch.views).repeat_interleave(len(batch.items))
        return nn.functional.cross_entropy(self._discriminator(rows), views)


def _discriminator(columns: int, views: int) -> nn.Module:
    return nn.Sequential(nn.Linear(columns, HIDDEN_UNITS), nn.Tanh(), nn.Linear(HIDDEN_UNITS, views))


class _ReverseGradient(torch.autograd.Function):
    """The identity, with a gradient whose sign is reversed and which is weighted."""

    @staticmethod
    def forward(_context: Any, rows: torch.Tensor) -> torch.Tensor:
        return rows.view_as(rows)

    @staticmethod
    def backward(_context: Any, gradient: torch.Tensor) -> torch.Tensor:
        return -ADVERSARY_WEIGHT * gradient
