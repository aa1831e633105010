"""Linear maps of several views, trained as corrections of initial maps, and the base class of their objectives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from retrieval.alignment.cca.linked_covariances import Link
from retrieval.types import Integers, Matrix

DROPOUT = 0.1
"""Dropout rate of the inputs."""


@dataclass(frozen=True)
class InitialMap:
    """The map of one view at the start of training: z = (x - center) @ basis @ weights.

    Attributes:
        center: (d,) float32.
        basis: (d, k) float32 principal axes, divided by their standard deviations (ridge included).
        weights: (k, m) float32 weights of the canonical variates.
    """

    center: Matrix
    basis: Matrix
    weights: Matrix


class Head(nn.Module):
    """One linear map a view: z = unit(((x - center) @ basis) @ (weights + change)).

    Only the changes are trained. They start at zero, and weight decay pulls them back to zero.
    """

    def __init__(self, initial_maps: Sequence[InitialMap], seed: int) -> None:
        """Start from the initial maps, one a view. ``seed`` is the seed of the dropout."""
        super().__init__()
        self._initial_maps = [
            tuple(map(torch.as_tensor, (start.center, start.basis, start.weights))) for start in initial_maps
        ]
        self._changes = nn.ParameterList(torch.zeros_like(weights) for _, _, weights in self._initial_maps)
        # Always on the CPU, so that every device gets the same random numbers.
        self._random = torch.Generator("cpu").manual_seed(seed)

    def forward(self, view: int, rows: Matrix) -> torch.Tensor:
        """Map (n, d) rows of a view to (n, m) unit rows."""
        center, basis, weights = self._initial_maps[view]
        inputs = (torch.as_tensor(rows) - center) @ basis
        if self.training:
            keep_mask = torch.rand(inputs.shape, generator=self._random, device="cpu") >= DROPOUT
            inputs = inputs * keep_mask.to(inputs.device) / (1 - DROPOUT)
        return nn.functional.normalize(inputs @ (weights + self._changes[view]), dim=1)

    def as_linear(self, view: int) -> tuple[Matrix, Matrix]:
        """Return the (d, m) W and (m,) b, float32, of a view: z = unit(x @ W - b)."""
        center, basis, weights = self._initial_maps[view]
        linear = basis @ (weights + self._changes[view].detach())
        return linear.numpy(force=True), (center @ linear).numpy(force=True)


@dataclass(frozen=True)
class Batch:
    """Pairs of one link, mapped by the head.

    Attributes:
        views: the two views that the link joins.
        items: (n,) int64, the item of each pair.
        first: (n, m) unit rows of the first view.
        second: (n, m) unit rows of the second view; row i of both is a pair.
    """

    views: Link
    items: Integers
    first: torch.Tensor
    second: torch.Tensor


class Objective(nn.Module, ABC):
    """The loss a head is trained with, and its own trained parameters, such as a temperature."""

    @abstractmethod
    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the loss of a batch, a scalar. In evaluation mode it is the loss that decides when to stop."""

    def report(self) -> dict[str, object]:
        """Return JSON-able facts about the trained parameters, for the alignment's report."""
        return {}


def duplicate_mask(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return an (n, n) mask of the pairs i != j whose rows are equal in at least one view.

    They must not count as wrong partners: two images may have the same caption.
    """
    with torch.no_grad():
        equal = (first @ first.T > 1 - 1e-6) | (second @ second.T > 1 - 1e-6)
        equal.fill_diagonal_(False)
    return equal
