"""A training loop for small modules: batches, a learning rate schedule, and early stopping on validation items."""

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
    """How long to train, and in what steps.

    Attributes:
        rate: largest learning rate of AdamW. It rises over the first twentieth of the steps, then follows a cosine
            down to zero.
        decay: weight decay.
        batch: most items in one step.
        epochs: most epochs.
        patience: epochs without a lower validation loss before training stops.
    """

    rate: float = 1e-3
    decay: float = 0.1
    batch: int = 1024
    epochs: int = 60
    patience: int = 6


@dataclass(frozen=True)
class TrainingHistory:
    """The course of one training run.

    Attributes:
        losses: validation losses, before training and after each epoch; empty without validation.
        best_epoch: number of epochs after which the returned weights were reached.
    """

    losses: Sequence[float]
    best_epoch: int


def train(
    module: torch.nn.Module,
    loss: Callable[[Integers], torch.Tensor],
    items: Integers,
    validation: Callable[[], torch.Tensor] | None,
    schedule: Schedule,
    seed: int,
) -> TrainingHistory:
    """Train ``module`` to lower ``loss``, and leave it with the weights that had the lowest validation loss.

    Args:
        module: its parameters are trained in place.
        loss: the scalar loss of a batch of items.
        items: (n,) int64 training items.
        validation: the scalar loss of other items. Without it all epochs run and the last weights stay.
        schedule: how long to train, and in what steps.
        seed: of the order of items.
    """
    import torch

    steps = -(-len(items) // schedule.batch) * schedule.epochs
    optimiser = torch.optim.AdamW(module.parameters(), lr=schedule.rate, weight_decay=schedule.decay)
    warmup_steps = max(1, steps // 20)

    def rate_factor(step: int) -> float:
        progress = (step - warmup_steps) / max(1, steps - warmup_steps)
        cosine = 0.5 * (1 + float(np.cos(np.pi * progress)))
        return (step + 1) / warmup_steps if step < warmup_steps else cosine

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, rate_factor)
    random = np.random.default_rng(seed)

    def validate(check: Callable[[], torch.Tensor]) -> float:
        module.eval()
        with torch.no_grad():
            return float(check())

    losses = [validate(validation)] if validation else []
    best_epoch, best_state = 0, copy.deepcopy(module.state_dict())
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
        if losses[-1] < losses[best_epoch]:
            best_epoch, best_state = epoch, copy.deepcopy(module.state_dict())
        elif epoch - best_epoch >= schedule.patience:
            break
    module.eval()
    if validation is None:
        return TrainingHistory((), schedule.epochs)
    module.load_state_dict(best_state)
    return TrainingHistory(losses, best_epoch)
