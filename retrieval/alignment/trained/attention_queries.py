"""Attention queries while they are trained: a differentiable version of ``Reading``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from retrieval.alignment.trained.head import InitialMap
from retrieval.encoders.base import PartLayout
from retrieval.types import Matrix

QUERY_SCALE = 30.0
"""Factor from the trained numbers to a query. The learning rate is that of heads, whose weights need larger steps."""


class AttentionQueries(nn.Module):
    """Maps rows of each view to unit rows: pool the parts, then apply a map. Queries are trained, maps are fixed."""

    def __init__(self, layouts: Sequence[PartLayout | None]) -> None:
        """Start with zero queries.

        Args:
            layouts: of each view, how its rows hold parts; None where they hold none. The part of a row that describes
                the whole asset must have unit norm.
        """
        super().__init__()
        self._layouts = layouts
        self._maps: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.raw_queries = nn.ParameterList(
            torch.zeros(layout.columns if layout else 0) for layout in layouts
        )

    def set_maps(self, initial_maps: Sequence[InitialMap]) -> None:
        """Use these maps from now on, one a view."""
        self._maps = [
            (torch.as_tensor(each.center), torch.as_tensor(each.basis @ each.weights))
            for each in initial_maps
        ]

    def forward(self, view: int, rows: Matrix) -> torch.Tensor:
        """Map (n, d) rows of a view to (n, m) unit rows."""
        center, linear = self._maps[view]
        return nn.functional.normalize((self.pooled(view, rows) - center) @ linear, dim=1)

    def pooled(self, view: int, rows: Matrix) -> torch.Tensor:
        """Return what a ``Reading`` returns for the rows, scaled to unit norm."""
        if (layout := self._layouts[view]) is None:
            return nn.functional.normalize(torch.as_tensor(rows), dim=1)
        whole, parts = torch.as_tensor(rows[:, : layout.whole]), torch.as_tensor(layout.split(rows))
        absent = ~parts.any(dim=2)
        scores = (QUERY_SCALE * parts @ self.raw_queries[view]).masked_fill(
            absent, torch.finfo(parts.dtype).min
        )
        weights = scores.softmax(dim=1).masked_fill(absent, 0.0)
        pooled = torch.einsum("np,npc->nc", weights, parts)
        return nn.functional.normalize(torch.cat([whole, pooled], dim=1), dim=1)

    def queries(self) -> list[Matrix]:
        """Return the query of each view, (columns,) float32, as ``Reading`` takes it."""
        return [QUERY_SCALE * raw.numpy(force=True) for raw in self.raw_queries]
