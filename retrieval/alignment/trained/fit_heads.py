"""Training a linear head over frozen encoders, whatever for: starts, batches, when to stop, and what is kept.

Training starts from canonical correlations and learns a correction of them, which decays towards none: with few
pairs little of it survives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.cca.canonical_subspaces import DEFAULT_POWER, DEFAULT_RIDGE, FOLDS
from retrieval.alignment.cca.model_selection import DIMENSION, Choice, choose_settings
from retrieval.alignment.cca.paired_views import PairSummary, summarise_pairs
from retrieval.alignment.cca.solver import solve
from retrieval.alignment.class_prior import FeatureMap
from retrieval.alignment.fitting import Report, feature_maps, from_pairs
from retrieval.alignment.linked_modalities import Connections
from retrieval.alignment.maps.subspaces import Subspace
from retrieval.alignment.trained.batches import KEPT_APART, LinkedItems, by_item, parted
from retrieval.alignment.trained.head import Batch, Head, Objective, Start
from retrieval.alignment.trained.training import Course, Schedule, train
from retrieval.types import Integers

SCHEDULE = Schedule()

Aim = Callable[[Connections, int], Objective]
"""A new objective for these connections and so many columns of the space."""


def fit_heads(method: str, data: TrainingData, aim: Aim) -> Alignment:
    """A linear head for every linked modality, trained for ``aim`` on the mean over all links.

    15% of the items are kept apart to tell when to stop; then all are learned from for as long.

    Args:
        method: its name.
        data: the training rows; ``data.seed`` is also that of the items kept apart and of the order of items.
        aim: what to train for.

    Raises:
        AlignmentError: as ``from_pairs``.
    """

    def fit(connections: Connections) -> tuple[list[Subspace], Report]:
        own = [feature_maps(data, None)[modality] for modality in connections.modalities]
        head, report = _fitted(connections, own, aim, data.seed)
        blocks = [lift.block(*head.folded(view)) for view, lift in enumerate(own)]
        return [Subspace(method, dict(zip(connections.modalities, blocks, strict=True)))], report

    return from_pairs(method, data, fit)


def _fitted(connections: Connections, own: Sequence[FeatureMap], aim: Aim, seed: int) -> tuple[Head, Report]:
    summary = summarise_pairs(connections.pairs, FOLDS if connections.can_validate else 1, seed)
    choice = choose_settings(summary, own, {}) if connections.can_validate else None
    starts = starting(summary, choice)
    columns = starts[0].weights.shape[1]
    links = by_item(connections.pairs, own)
    rest, apart = parted(links, KEPT_APART if connections.can_validate else 0.0, seed)
    course = Course((), 0)
    if len(apart) > 1:
        course = train_head(Head(starts, seed), aim(connections, columns), links, rest, apart, SCHEDULE, seed)
    head, objective = Head(starts, seed), aim(connections, columns)
    again = replace(SCHEDULE, epochs=course.best)
    train_head(head, objective, links, np.sort(np.concatenate([rest, apart])), None, again, seed)
    report: Report = {
        "ridge": choice.ridge if choice else DEFAULT_RIDGE,
        "epochs": course.best,
        "validation_loss": course.losses[course.best] if course.losses else None,
        "validation_loss_of_cca": course.losses[0] if course.losses else None,
    }
    return head, report | objective.report()


def starting(summary: PairSummary, choice: Choice | None) -> list[Start]:
    """Where canonical correlations have each view, at the settings chosen or else the defaults."""
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


def train_head(
    head: nn.Module,
    objective: Objective,
    links: Sequence[LinkedItems],
    items: Integers,
    apart: Integers | None,
    schedule: Schedule,
    seed: int,
) -> Course:
    """Train what maps (n, d) rows of a view to unit rows, and what it is trained for, on the mean over all links.

    Args:
        head: called with the number of a view and its rows.
        objective: what for.
        links: the pairs.
        items: to learn from.
        apart: items that tell when to stop; None to go on to the end.
        schedule: how.
        seed: of the order of items, and which of an item's pairs are drawn.
    """
    random = np.random.default_rng(seed)

    def loss(some: Integers, random: np.random.Generator | None = random) -> torch.Tensor:
        losses = []
        for own in links:
            drawn, rows = own.drawn(some, random)
            if len(drawn):
                sides = [head(view, each) for view, each in zip(own.views, rows, strict=True)]
                losses.append(objective(Batch(own.views, drawn, *sides)))
        return torch.stack(losses).mean()

    validation = None if apart is None else (lambda: loss(apart, None))
    return train(nn.ModuleList([head, objective]), loss, items, validation, schedule, seed)
