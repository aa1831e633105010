"""A linear head trained to tell pairs from strangers, each two rows by themselves.

Zhai et al., "Sigmoid Loss for Language Image Pre-Training" (2023): a logistic regression on the similarity of every
two rows of a batch, with a learned temperature and bias. Unlike the contrastive loss it does not depend on who else
is in the batch.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.methods.contrastive import SHARPEST
from retrieval.alignment.trained.fit_heads import fit_heads
from retrieval.alignment.trained.head import Batch, Objective, same

FIRST, BIAS = 10.0, -10.0
"""The inverse temperature and the bias that training begins with: the paper's."""


def fit(data: TrainingData) -> Alignment:
    """A head trained by the sigmoid loss on the pairs alone.

    Raises:
        AlignmentError: as ``from_pairs``.
    """
    return fit_heads("sigmoid", data, lambda _connections, _columns: Sigmoid())


class Sigmoid(Objective):
    """The sigmoid loss at a learned temperature and bias."""

    def __init__(self) -> None:
        super().__init__()
        self._logarithm = nn.Parameter(torch.tensor(math.log(FIRST)))
        self._bias = nn.Parameter(torch.tensor(BIAS))

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of a batch."""
        sharpness = self._logarithm.exp().clamp(max=SHARPEST)
        return sigmoid_loss(batch.first, batch.second, sharpness, self._bias)

    def report(self) -> dict[str, object]:
        """The temperature and bias it came to."""
        return {"inverse_temperature": self._logarithm.exp().item(), "bias": self._bias.item()}


def sigmoid_loss(
    first: torch.Tensor, second: torch.Tensor, sharpness: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """Minus the log-likelihood, a row, of which of all (n, n) two rows are partners: those of the same number.

    Args:
        first: (n, m) unit rows of one view.
        second: (n, m) unit rows of the other.
        sharpness: the inverse temperature.
        bias: added to every score.
    """
    scores = sharpness * first @ second.T + bias
    signs = 2 * torch.eye(len(scores)) - 1
    told = nn.functional.logsigmoid(signs * scores).masked_fill(same(first, second), 0.0)
    return -told.sum() / len(scores)
