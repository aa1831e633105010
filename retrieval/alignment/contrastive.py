"""A linear head over frozen encoders, trained so that partners find each other among all others.

The loss is the symmetric InfoNCE of Radford et al., "Learning Transferable Visual Models From Natural Language
Supervision" (2021): of a batch of items, the cross-entropy of the right partner, both ways, at a learned
temperature; here the mean over all links of two modalities. Training starts from canonical correlations, and
learns a correction of them, which decays towards none: with few pairs little of it survives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from retrieval.alignment.canonical import DEFAULT_POWER, DEFAULT_RIDGE, FOLDS
from retrieval.alignment.cca import solve
from retrieval.alignment.joint import DIMENSION, Choice, choose
from retrieval.alignment.linked import Link
from retrieval.alignment.links import Connections
from retrieval.alignment.prior import Lift
from retrieval.alignment.projector import Block
from retrieval.alignment.study import PairedViews, Study, study
from retrieval.alignment.training import Course, Schedule, train
from retrieval.types import Integers, Matrix

if TYPE_CHECKING:
    import torch

    from retrieval.alignment.head import Head

SCHEDULE = Schedule()

KEPT_APART = 0.15
"""Share of the items that tell when to stop; then all are learned from for as long."""


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


def contrastive_blocks(
    connections: Connections, lifts: list[Lift], seed: int
) -> tuple[list[Block], dict[str, object]]:
    """One block a linked modality, and what to say of the training.

    Args:
        connections: the links to learn from.
        lifts: of the linked modalities.
        seed: of folds, of the items kept apart, and of the order of items.
    """
    summary = study(connections.pairs, FOLDS if connections.tested else 1, seed)
    choice = choose(summary, lifts, {}) if connections.tested else None
    starts = _starts(summary, choice)
    pairs = {link: _Pairs.of(views, lifts, link) for link, views in connections.pairs.items()}
    items = np.unique(np.concatenate([own.items for own in pairs.values()]))
    shuffled = np.random.default_rng(seed).permutation(items)
    apart = int(KEPT_APART * len(items)) if connections.tested else 0
    epochs, course = 0, Course((), 0)
    if apart > 1:
        _, course = _trained(starts, pairs, shuffled[apart:], shuffled[:apart], SCHEDULE, seed)
        epochs = course.best
    schedule = replace(SCHEDULE, epochs=epochs)
    head, _ = _trained(starts, pairs, items, None, schedule, seed)
    report: dict[str, object] = {
        "ridge": choice.ridge if choice else DEFAULT_RIDGE,
        "epochs": epochs,
        "validation_loss": course.losses[epochs] if course.losses else None,
        "validation_loss_of_cca": course.losses[0] if course.losses else None,
        "inverse_temperature": head.sharpness().item(),
    }
    return [lift.block(*head.folded(view)) for view, lift in enumerate(lifts)], report


def _starts(summary: Study, choice: Choice | None) -> list[Start]:
    ridge = choice.ridge if choice else DEFAULT_RIDGE
    maps = solve(summary.whole, ridge, DIMENSION)
    confirmed = choice.confirmed if choice else None
    shares = maps.correlations if confirmed is None else confirmed[: len(maps.correlations)]
    shares = shares ** (choice.power if choice else DEFAULT_POWER)
    starts = []
    for view, (axes, center, weights) in enumerate(
        zip(summary.axes, maps.centers, maps.weights, strict=True)
    ):
        variances = np.diagonal(summary.whole.within(view))
        deviations = np.sqrt(variances + ridge * variances.mean())
        starts.append(
            Start(
                (axes @ center).astype(np.float32),
                (axes / deviations).astype(np.float32),
                (deviations[:, None] * weights[:, : len(shares)] * shares).astype(np.float32),
            )
        )
    return starts


@dataclass(frozen=True)
class _Pairs:
    """The pairs of one link, by item.

    Attributes:
        views: which are linked.
        items: (i,) int64, those that have a pair, ascending.
        first: (i,) int64, the first of each item's pairs.
        count: (i,) int64, how many it has.
        order: (p,) int64, the pairs by item.
        source: of their features.
        lifts: of both views.
    """

    views: Link
    items: Integers
    first: Integers
    count: Integers
    order: Integers
    source: PairedViews
    lifts: tuple[Lift, Lift]

    @classmethod
    def of(cls, source: PairedViews, lifts: list[Lift], link: Link) -> _Pairs:
        order = np.argsort(source.items, kind="stable")
        items, first, count = np.unique(source.items[order], return_index=True, return_counts=True)
        return cls(link, items, first, count, order, source, (lifts[link[0]], lifts[link[1]]))

    def drawn(self, items: Integers, random: np.random.Generator | None) -> list[Matrix]:
        """Features of both views of one pair of each of these items that has one: the first, or any."""
        at = np.flatnonzero(np.isin(self.items, items))
        which = 0 if random is None else (random.random(len(at)) * self.count[at]).astype(np.int64)
        pairs = self.order[self.first[at] + which]
        return [lift.apply(self.source.features(view, pairs)) for view, lift in enumerate(self.lifts)]


def _trained(
    starts: list[Start],
    pairs: Mapping[Link, _Pairs],
    items: Integers,
    apart: Integers | None,
    schedule: Schedule,
    seed: int,
) -> tuple[Head, Course]:
    import torch

    from retrieval.alignment.head import Head

    head = Head([(start.center, start.basis, start.weights) for start in starts], seed)
    random = np.random.default_rng(seed)

    def loss(some: Integers, random: np.random.Generator | None = random) -> torch.Tensor:
        losses = [head.loss(own.views, own.drawn(some, random)) for own in pairs.values()]
        return torch.stack(losses).mean()

    validation = None if apart is None else (lambda: loss(apart, None))
    return head, train(head, loss, items, validation, schedule, seed)
