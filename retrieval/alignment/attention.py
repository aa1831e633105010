"""Canonical correlations of whole assets and of what their parts are pooled to, by weights learned by contrast.

A query a modality scores the parts of an asset, and the softmax of the scores weighs them: attention with a learned
context vector (Yang et al., "Hierarchical attention networks for document classification", 2016), over frozen parts.
The pooled part stands beside the row of the whole, and ``cca`` makes the map of both.

Queries begin at zero, where parts weigh the same, and are learned in rounds. Each fits canonical correlations to what
the parts are pooled to by now, and then moves the queries so that partners find each other through these maps
(symmetric InfoNCE). Items kept apart from both tell how well the maps rank, and the queries of the best round are what
is kept: zero, where none is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from retrieval.alignment.base import Alignment, FeatureTable, TrainingData
from retrieval.alignment.batches import KEPT_APART, by_item, parted
from retrieval.alignment.contrastive import Contrast
from retrieval.alignment.fitting import Report, lifts
from retrieval.alignment.head import Start
from retrieval.alignment.heads import starting, train_head
from retrieval.alignment.joint import choose
from retrieval.alignment.linked import Link
from retrieval.alignment.links import Connections, connect
from retrieval.alignment.methods import cca_of
from retrieval.alignment.pooling import Reading
from retrieval.alignment.prior import Lift
from retrieval.alignment.study import PairedViews, study
from retrieval.alignment.training import Schedule
from retrieval.encoders.base import Parts
from retrieval.rows import Chosen
from retrieval.types import Integers, Matrix, Modality

SCHEDULE = Schedule(decay=0.0, epochs=20)
"""Of a round."""

ROUNDS, PATIENCE = 10, 3
"""Rounds, at most, and how many without a better one before learning ends."""

MOST = 2000
"""Items that queries are learned from, at most, for they are a few thousand numbers; the maps are of all."""

SHARPNESS = 30.0
"""What a learned number counts for in a query: scores are cosines, and the rate of learning is that of heads."""


def fit(data: TrainingData) -> Alignment:
    """Learn how to pool parts, and fit ``cca`` to that; an asset without parts is the one part that it is.

    Raises:
        AlignmentError: as ``from_pairs``.
    """
    readings, report = _learned(data)
    fitted = cca_of("attention", data.read(readings)).reading(readings)
    return replace(fitted, report={**fitted.report, **report})


class Attention(nn.Module):
    """Rows to unit rows of what is read of them and then mapped, a view each; queries are learned, maps are not."""

    def __init__(self, parts: Sequence[Parts | None]) -> None:
        """Begin at zero. ``parts`` are of each view, where its rows hold any."""
        super().__init__()
        self._parts = parts
        self._maps: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.queries = nn.ParameterList(torch.zeros(own.columns if own else 0) for own in parts)

    def through(self, starts: Sequence[Start]) -> None:
        """Take these maps from now on."""
        self._maps = [
            (torch.from_numpy(start.center), torch.from_numpy(start.basis @ start.weights))
            for start in starts
        ]

    def forward(self, view: int, rows: Matrix) -> torch.Tensor:
        """(n, m) unit rows of the (n, d) rows of a view."""
        center, linear = self._maps[view]
        return nn.functional.normalize((self.read(view, rows) - center) @ linear, dim=1)

    def read(self, view: int, rows: Matrix) -> torch.Tensor:
        """What a ``Reading`` of the rows is, at unit norm."""
        if (own := self._parts[view]) is None:
            return nn.functional.normalize(torch.from_numpy(rows), dim=1)
        parts = nn.functional.normalize(torch.from_numpy(own.of(rows)), dim=2)
        absent = ~parts.any(dim=2)
        scores = (SHARPNESS * parts @ self.queries[view]).masked_fill(absent, torch.finfo(parts.dtype).min)
        weights = scores.softmax(dim=1).masked_fill(absent, 0.0)
        pooled = torch.einsum("np,npc->nc", weights, parts)
        whole = nn.functional.normalize(torch.from_numpy(rows[:, : own.whole]), dim=1)
        return nn.functional.normalize(torch.cat([whole, pooled * whole.norm(dim=1, keepdim=True)], 1), dim=1)

    def readings(self, names: Sequence[Modality]) -> dict[Modality, Reading]:
        """By modality, what has been learned by now."""
        return {
            name: Reading(own, SHARPNESS * query.detach().numpy())
            for name, own, query in zip(names, self._parts, self.queries, strict=True)
            if own
        }


def _learned(data: TrainingData) -> tuple[dict[Modality, Reading], Report]:
    """How parts are best pooled, and what to say of it."""
    zero = {modality: Reading(own, np.zeros(own.columns, np.float32)) for modality, own in data.parts.items()}
    some = _some(data)
    means = some.read(zero)
    connections = connect(means.tables, lifts(means, None), ())
    names = connections.modalities
    if not zero.keys() & data.tables.keys():
        return zero, {"reason": "no parts to weigh: canonical correlations alone"}
    if not connections.tested or not zero.keys() & set(names):
        return zero, {"reason": "too few pairs of what has parts: all parts weigh the same"}
    pairs = _pairs(some, connections)
    links = by_item(pairs, [Lift(some.tables[name].features.shape[1]) for name in names])
    rest, apart = parted(links, KEPT_APART, data.seed)
    attention = Attention([data.parts.get(name) for name in names])
    kept, losses = zero, list[float]()
    while len(losses) <= ROUNDS and len(losses) - int(np.argmin(losses or [0])) <= PATIENCE:
        if losses:
            train_head(attention, Contrast(), links, rest, None, SCHEDULE, data.seed + len(losses))
        readings = zero | attention.readings(names)
        starts, loss = _maps(some.read(readings), connections, apart)
        attention.through(starts)
        losses.append(loss)
        kept = readings if loss == min(losses) else kept
    return kept, {"rounds": int(np.argmin(losses)), "validation_losses": losses}


def _some(data: TrainingData) -> TrainingData:
    """At most ``MOST`` of the items that several modalities have."""
    tables = data.tables.values()
    items, counts = np.unique(np.concatenate([np.unique(own.items) for own in tables]), return_counts=True)
    kept = np.random.default_rng(data.seed).permutation(items[counts > 1])[:MOST]
    rows = {modality: np.flatnonzero(np.isin(own.items, kept)) for modality, own in data.tables.items()}
    chosen = {
        modality: FeatureTable(Chosen(own.features, rows[modality]), own.items[rows[modality]])
        for modality, own in data.tables.items()
    }
    return replace(data, tables=chosen)


def _pairs(data: TrainingData, connections: Connections) -> dict[Link, PairedViews]:
    """The links of ``connections`` in these data."""
    own = lifts(data, None)
    found = {}
    for link in connections.pairs:
        first, second = (connections.modalities[view] for view in link)
        found[link] = PairedViews((data.tables[first], data.tables[second]), (own[first], own[second]))
    return found


def _maps(data: TrainingData, connections: Connections, apart: Integers) -> tuple[list[Start], float]:
    """Canonical correlations of what is not kept apart, and their loss on what is."""
    summary = study(_pairs(data, connections), 1, data.seed, apart=apart)
    choice = choose(summary, [lifts(data, None)[modality] for modality in connections.modalities], {})
    return starting(replace(summary, whole=summary.folds[0].rest), choice), choice.loss
