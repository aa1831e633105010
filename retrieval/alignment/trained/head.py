"""A linear map for each of several views, as a correction of where it starts, and what its training aims at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from retrieval.alignment.cca.linked_covariances import Link
from retrieval.types import Integers, Matrix

DROPPED = 0.1
"""Share of the inputs that a step does without."""


@dataclass(frozen=True)
class Start:
    """Where training begins for one view: z = (x - center) @ basis @ weights.

    Attributes:
        center: (d,) float32.
        basis: (d, k) float32, principal axes divided by their deviations (ridge included).
        weights: (k, m) float32, those of the canonical variates.
    """

    center: Matrix
    basis: Matrix
    weights: Matrix


class Head(nn.Module):
    """z = unit(((x - center) @ basis) @ (weights + change)), a view each.

    The changes are what is learned: zero at first, and drawn to zero by the decay of weights.
    """

    def __init__(self, starts: Sequence[Start], seed: int) -> None:
        """Begin at the starts, one a view. ``seed`` is that of what a step does without."""
        super().__init__()
        self._starts = [
            tuple(map(torch.as_tensor, (start.center, start.basis, start.weights))) for start in starts
        ]
        self._changes = nn.ParameterList(torch.zeros_like(weights) for _, _, weights in self._starts)
        # Wherever the rest is, the same numbers are drawn.
        self._random = torch.Generator("cpu").manual_seed(seed)

    def forward(self, view: int, rows: Matrix) -> torch.Tensor:
        """(n, m) unit rows of the (n, d) rows of a view."""
        center, basis, weights = self._starts[view]
        inputs = (torch.as_tensor(rows) - center) @ basis
        if self.training:
            kept = torch.rand(inputs.shape, generator=self._random, device="cpu") >= DROPPED
            inputs = inputs * kept.to(inputs.device) / (1 - DROPPED)
        return nn.functional.normalize(inputs @ (weights + self._changes[view]), dim=1)

    def folded(self, view: int) -> tuple[Matrix, Matrix]:
        """(d, m) and (m,) float32 W and b of a view: z = unit(x @ W - b)."""
        center, basis, weights = self._starts[view]
        linear = basis @ (weights + self._changes[view].detach())
        return linear.numpy(force=True), (center @ linear).numpy(force=True)


@dataclass(frozen=True)
class Batch:
    """Pairs of one link, as the head has them.

    Attributes:
        views: which are linked.
        items: (n,) int64, the item of each pair.
        first: (n, m) unit rows of the first view.
        second: (n, m) unit rows of the second, row i being the partner of row i.
    """

    views: Link
    items: Integers
    first: torch.Tensor
    second: torch.Tensor


class Objective(nn.Module, ABC):
    """What a head is trained for, with the parameters that takes, such as a temperature."""

    @abstractmethod
    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of a batch, a scalar; in evaluation mode that which tells when to stop."""

    def report(self) -> dict[str, object]:
        """What to say of it after training, JSON-able."""
        return {}


def same(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """(n, n) where rows i and j, i not j, are the same in one view: no wrong partners, as two pictures of a caption."""
    with torch.no_grad():
        equal = (first @ first.T > 1 - 1e-6) | (second @ second.T > 1 - 1e-6)
        equal.fill_diagonal_(False)
    return equal
