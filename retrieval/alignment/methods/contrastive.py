"""A linear head trained so that the two rows of a pair find each other in a batch.

The loss is the symmetric InfoNCE of Radford et al., "Learning Transferable Visual Models From Natural Language
Supervision" (2021): the cross-entropy of the right partner among a batch of items, in both directions, at a trained
temperature.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.trained.fit_heads import fit_heads
from retrieval.alignment.trained.head import Batch, Objective, duplicate_mask

INITIAL_INVERSE_TEMPERATURE = 1 / 0.07
"""Inverse temperature at the start of training, as in CLIP."""

MAX_INVERSE_TEMPERATURE = 100.0
"""Largest inverse temperature, as in CLIP."""


def fit(data: TrainingData) -> Alignment:
    """Train heads with the contrastive loss, on the pairs alone.

    Raises:
        AlignmentError: as ``from_pairs``.
    """
    return fit_heads("contrastive", data, lambda _connections, _columns: ContrastiveObjective())


class ContrastiveObjective(Objective):
    """Symmetric InfoNCE at a trained temperature."""

    def __init__(self) -> None:
        super().__init__()
        self._log_inverse_temperature = nn.Parameter(torch.tensor(math.log(INITIAL_INVERSE_TEMPERATURE)))

    def inverse_temperature(self) -> torch.Tensor:
        """Return the current inverse temperature."""
        return self._log_inverse_temperature.exp().clamp(max=MAX_INVERSE_TEMPERATURE)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the loss of a batch."""
        return info_nce(batch.first, batch.second, self.inverse_temperature())

    def report(self) -> dict[str, object]:
        """Return the trained inverse temperature."""
        return {"inverse_temperature": self.inverse_temperature().item()}


def info_nce(first: torch.Tensor, second: torch.Tensor, inverse_temperature: torch.Tensor) -> torch.Tensor:
    """Return the symmetric contrastive loss of pairs; row i of both views is a pair.

    Rows that are equal in one view do not count as wrong partners, for instance two images with the same caption.

    Args:
        first: (n, m) unit rows of one view.
        second: (n, m) unit rows of the other view.
        inverse_temperature: factor of the similarities.
    """
    scores = (inverse_temperature * first @ second.T).masked_fill(duplicate_mask(first, second), -torch.inf)
    partners = torch.arange(len(scores))
    losses = [nn.functional.cross_entropy(each, partners) for each in (scores, scores.T)]
    return torch.stack(losses).mean()
