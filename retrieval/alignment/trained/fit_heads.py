"""Train linear heads over frozen encoders for any objective.

Training starts from the maps of canonical correlation analysis (CCA) and learns a correction of them. Weight decay
pulls the correction towards zero, so with few pairs little of it remains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.cca.canonical_subspaces import DEFAULT_POWER, DEFAULT_RIDGE, FOLDS
from retrieval.alignment.cca.fitting import Report, feature_maps, from_pairs
from retrieval.alignment.cca.linked_modalities import Connections
from retrieval.alignment.cca.model_selection import DIMENSION, Choice, choose_settings
from retrieval.alignment.cca.paired_views import PairSummary, summarise_pairs
from retrieval.alignment.cca.solver import solve
from retrieval.alignment.class_prior import FeatureMap
from retrieval.alignment.maps.subspaces import Subspace
from retrieval.alignment.trained.batches import VALIDATION_SHARE, LinkedItems, items_by_link, split_items
from retrieval.alignment.trained.head import Batch, Head, InitialMap, Objective
from retrieval.alignment.trained.training import Schedule, TrainingHistory, train
from retrieval.types import Integers

SCHEDULE = Schedule()

ObjectiveFactory = Callable[[Connections, int], Objective]
"""Returns a new objective for these connections and this number of columns of the space."""


def fit_heads(method: str, data: TrainingData, make_objective: ObjectiveFactory) -> Alignment:
    """Train one linear head for every linked modality, on the mean loss over all links.

    15% of the items are held back to find the best number of epochs. Then a new head is trained on all items for that
    number of epochs.

    Args:
        method: name of the method.
        data: the training rows; ``data.seed`` also decides which items are held back, and the order of items.
        make_objective: returns the objective to train for.

    Raises:
        AlignmentError: as ``from_pairs``.
    """

    def fit(connections: Connections) -> tuple[list[Subspace], Report]:
        view_lifts = [feature_maps(data, None)[modality] for modality in connections.modalities]
        head, report = _fit_head(connections, view_lifts, make_objective, data.seed)
        blocks = [lift.block(*head.as_linear(view)) for view, lift in enumerate(view_lifts)]
        return [Subspace(method, dict(zip(connections.modalities, blocks, strict=True)))], report

    return from_pairs(method, data, fit)


def _fit_head(
    connections: Connections, view_lifts: Sequence[FeatureMap], make_objective: ObjectiveFactory, seed: int
) -> tuple[Head, Report]:
    pair_statistics = summarise_pairs(connections.pairs, FOLDS if connections.can_validate else 1, seed)
    choice = choose_settings(pair_statistics, view_lifts, {}) if connections.can_validate else None
    initial_maps = cca_initial_maps(pair_statistics, choice)
    columns = initial_maps[0].weights.shape[1]
    links = items_by_link(connections.pairs, view_lifts)
    validation_share = VALIDATION_SHARE if connections.can_validate else 0.0
    training_items, validation_items = split_items(links, validation_share, seed)
    history = TrainingHistory((), 0)
    if len(validation_items) > 1:
        history = train_head(
            Head(initial_maps, seed),
            make_objective(connections, columns),
            links=links,
            training_items=training_items,
            validation_items=validation_items,
            schedule=SCHEDULE,
            seed=seed,
        )
    head, objective = Head(initial_maps, seed), make_objective(connections, columns)
    train_head(
        head,
        objective,
        links=links,
        training_items=np.sort(np.concatenate([training_items, validation_items])),
        validation_items=None,
        schedule=replace(SCHEDULE, epochs=history.best_epoch),
        seed=seed,
    )
    report: Report = {
        "ridge": choice.ridge if choice else DEFAULT_RIDGE,
        "epochs": history.best_epoch,
        "validation_loss": history.losses[history.best_epoch] if history.losses else None,
        "validation_loss_of_cca": history.losses[0] if history.losses else None,
    }
    return head, report | objective.report()


def cca_initial_maps(pair_statistics: PairSummary, choice: Choice | None) -> list[InitialMap]:
    """Return the CCA map of each view, at the chosen settings, or at the defaults if there is no choice."""
    ridge = choice.ridge if choice else DEFAULT_RIDGE
    maps = solve(pair_statistics.whole, ridge, DIMENSION)
    confirmed = choice.confirmed if choice else None
    shares = maps.correlations if confirmed is None else confirmed[: len(maps.correlations)]
    shares = shares ** (choice.power if choice else DEFAULT_POWER)
    initial_maps = []
    for view, (axes, center, weights) in enumerate(
        zip(pair_statistics.axes, maps.centers, maps.weights, strict=True)
    ):
        variances = np.diagonal(pair_statistics.whole.within(view))
        deviations = np.sqrt(variances + ridge * variances.mean())
        initial_maps.append(
            InitialMap(
                (axes @ center).astype(np.float32),
                (axes / deviations).astype(np.float32),
                (deviations[:, None] * weights[:, : len(shares)] * shares).astype(np.float32),
            )
        )
    return initial_maps


def train_head(
    head: nn.Module,
    objective: Objective,
    *,
    links: Sequence[LinkedItems],
    training_items: Integers,
    validation_items: Integers | None,
    schedule: Schedule,
    seed: int,
) -> TrainingHistory:
    """Train a head and the parameters of its objective, on the mean loss over all links.

    Args:
        head: called with the number of a view and its (n, d) rows; returns unit rows.
        objective: the loss.
        links: the pairs.
        training_items: items to train on.
        validation_items: items that decide when to stop; None to run all epochs.
        schedule: how long to train, and in what steps.
        seed: of the order of items, and of which of an item's pairs is drawn.
    """
    random = np.random.default_rng(seed)

    def loss(batch_items: Integers, random: np.random.Generator | None = random) -> torch.Tensor:
        losses = []
        for linked in links:
            drawn_items, rows = linked.draw(batch_items, random)
            if len(drawn_items):
                mapped = [head(view, each) for view, each in zip(linked.views, rows, strict=True)]
                losses.append(objective(Batch(linked.views, drawn_items, *mapped)))
        return torch.stack(losses).mean()

    validation = None if validation_items is None else (lambda: loss(validation_items, None))
    return train(nn.ModuleList([head, objective]), loss, training_items, validation, schedule, seed)
