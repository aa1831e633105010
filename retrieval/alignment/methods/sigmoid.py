"""A linear head trained to classify every two rows as a pair or not.

Zhai et al., "Sigmoid Loss for Language Image Pre-Training" (2023): a logistic regression on the similarity of every
two rows of a batch, with a trained temperature and bias. Unlike the contrastive loss, the loss of two rows does not
depend on the rest of the batch.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.methods.contrastive import MAX_INVERSE_TEMPERATURE
from retrieval.alignment.trained.fit_heads import fit_heads
from retrieval.alignment.trained.head import Batch, Objective, duplicate_mask

INITIAL_INVERSE_TEMPERATURE, INITIAL_BIAS = 10.0, -10.0
"""Inverse temperature and bias at the start of training, as in the paper."""


def fit(data: TrainingData) -> Alignment:
    """Train heads with the sigmoid loss, on the pairs alone.

    Raises:
        AlignmentError: as ``from_pairs``.
    """
    return fit_heads("sigmoid", data, lambda _connections, _columns: SigmoidObjective())


class SigmoidObjective(Objective):
    """The sigmoid loss at a trained temperature and bias."""

    def __init__(self) -> None:
        super().__init__()
        self._log_inverse_temperature = nn.Parameter(torch.tensor(math.log(INITIAL_INVERSE_TEMPERATURE)))
        self._bias = nn.Parameter(torch.tensor(INITIAL_BIAS))

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the loss of a batch."""
        inverse_temperature = self._log_inverse_temperature.exp().clamp(max=MAX_INVERSE_TEMPERATURE)
        return sigmoid_loss(batch.first, batch.second, inverse_temperature, self._bias)

    def report(self) -> dict[str, object]:
        """Return the trained inverse temperature and bias."""
        return {"inverse_temperature": self._log_inverse_temperature.exp().item(), "bias": self._bias.item()}


def sigmoid_loss(
    first: torch.Tensor, second: torch.Tensor, inverse_temperature: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """Return minus the log-likelihood of which of all (n, n) combinations are pairs, divided by n.

    Row i of both views is a pair. Rows that are equal in one view do not count as wrong partners.

    Args:
        first: (n, m) unit rows of one view.
        second: (n, m) unit rows of the other view.
        inverse_temperature: factor of the similarities.
        bias: added to every score.
    """
    scores = inverse_temperature * first @ second.T + bias
    signs = 2 * torch.eye(len(scores)) - 1
    log_likelihoods = nn.functional.logsigmoid(signs * scores).masked_fill(duplicate_mask(first, second), 0.0)
    return -log_likelihoods.sum() / len(scores)
