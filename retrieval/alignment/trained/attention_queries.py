"""The queries by which parts are weighed, while they are learned: what ``PartPooling`` computes, differentiably."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from retrieval.alignment.trained.head import Start
from retrieval.encoders.base import PartLayout
from retrieval.types import Matrix

SHARPNESS = 30.0
"""What a learned number counts for in a query: the rate of learning is that of heads, whose numbers count for more."""


class Queries(nn.Module):
    """Rows to unit rows of what is read of them and then mapped, a view each; the queries are learned, maps are not."""

    def __init__(self, parts: Sequence[PartLayout | None]) -> None:
        """Begin at zero. ``parts`` are of each view, where its rows, whose wholes are of unit norm, hold any."""
        super().__init__()
        self._parts = parts
        self._maps: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.learned = nn.ParameterList(torch.zeros(own.columns if own else 0) for own in parts)

    def through(self, starts: Sequence[Start]) -> None:
        """Take these maps from now on."""
        self._maps = [
            (torch.as_tensor(start.center), torch.as_tensor(start.basis @ start.weights)) for start in starts
        ]

    def forward(self, view: int, rows: Matrix) -> torch.Tensor:
        """(n, m) unit rows of the (n, d) rows of a view."""
        center, linear = self._maps[view]
        return nn.functional.normalize((self.read(view, rows) - center) @ linear, dim=1)

    def read(self, view: int, rows: Matrix) -> torch.Tensor:
        """What a ``PartPooling`` of the rows is, at unit norm."""
        if (own := self._parts[view]) is None:
            return nn.functional.normalize(torch.as_tensor(rows), dim=1)
        whole, parts = torch.as_tensor(rows[:, : own.whole]), torch.as_tensor(own.split(rows))
        absent = ~parts.any(dim=2)
        scores = (SHARPNESS * parts @ self.learned[view]).masked_fill(absent, torch.finfo(parts.dtype).min)
        weights = scores.softmax(dim=1).masked_fill(absent, 0.0)
        pooled = torch.einsum("np,npc->nc", weights, parts)
        return nn.functional.normalize(torch.cat([whole, pooled], dim=1), dim=1)

    def queries(self) -> list[Matrix]:
        """(columns,) float32 of each view, as a ``PartPooling`` has it."""
        return [SHARPNESS * own.numpy(force=True) for own in self.learned]
