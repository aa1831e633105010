"""Training small maps by gradients: batches, early stopping on items kept apart, and nothing of what is learned."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retrieval.types import Integers

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Schedule:
    """How long and in what steps to train.

    Attributes:
        rate: largest learning rate of AdamW; it rises over the first twentieth of the steps and falls by a cosine.
        decay: of the weights, a step at full rate.
        batch: items a step, at most.
        epochs: at most.
        patience: epochs without a lower validation loss before training ends.
    """

    rate: float = 1e-3
    decay: float = 0.1
    batch: int = 1024
    epochs: int = 60
    patience: int = 6


@dataclass(frozen=True)
class Course:
    """How training went.

    Attributes:
        losses: of validation, before training and after each epoch.
        best: epochs after which the weights were kept.
    """

    losses: Sequence[float]
    best: int


def train(
    module: torch.nn.Module,
    loss: Callable[[Integers], torch.Tensor],
    items: Integers,
    validation: Callable[[], torch.Tensor] | None,
    schedule: Schedule,
    seed: int,
) -> Course:
    """Change ``module`` so that ``loss`` falls, and leave it as it was when it validated best.

    Args:
        module: whose parameters are learned.
        loss: a scalar, of the items numbered.
        items: (n,) int64, those to learn from.
        validation: a scalar on other items; without it all epochs are run, and the last one is kept.
        schedule: how.
        seed: of the order of items.
    """
    import torch

    steps = -(-len(items) // schedule.batch) * schedule.epochs
    optimiser = torch.optim.AdamW(module.parameters(), lr=schedule.rate, weight_decay=schedule.decay)
    warm = max(1, steps // 20)

    def pace(step: int) -> float:
        left = (step - warm) / max(1, steps - warm)
        return (step + 1) / warm if step < warm else 0.5 * (1 + float(np.cos(np.pi * left)))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, pace)
    random = np.random.default_rng(seed)

    def validate(check: Callable[[], torch.Tensor]) -> float:
        module.eval()
        with torch.no_grad():
            return float(check())

    losses = [validate(validation)] if validation else []
    best, kept = 0, copy.deepcopy(module.state_dict())
    for epoch in range(1, schedule.epochs + 1):
        module.train()
        for batch in np.array_split(random.permutation(items), -(-len(items) // schedule.batch)):
            optimiser.zero_grad()
            loss(batch).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            scheduler.step()
        if validation is None:
            continue
        losses.append(validate(validation))
        if losses[-1] < losses[best]:
            best, kept = epoch, copy.deepcopy(module.state_dict())
        elif epoch - best >= schedule.patience:
            break
    module.eval()
    if validation is None:
        return Course((), schedule.epochs)
    module.load_state_dict(kept)
    return Course(losses, best)
