"""What learned fusions share: the task they learn, and the loop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from retrieval.alignment.contrastive import FIRST, info_nce
from retrieval.alignment.projector import unit
from retrieval.alignment.training import Schedule, train
from retrieval.fusion.base import Parts
from retrieval.types import Integers, Matrix

SCHEDULE = Schedule(rate=1e-3, decay=0.1, batch=256, epochs=20, patience=3)
KEPT_APART = 0.2
"""Share of the items that tell when to stop."""
LEAST = 20
"""Items with several parts below which nothing is learned: the module stays the mean that it begins as."""
SHARPNESS = torch.tensor(FIRST)
RANK = 16


@dataclass(frozen=True)
class Learned:
    """A module that takes (n, m, d) vectors, zeros where they lack, and (n, m) presence, and gives (n, k)."""

    module: nn.Module

    def __call__(self, parts: Parts) -> Matrix:
        """(n, k) float32 of unit norm."""
        with torch.no_grad():
            return unit(_fused(self.module, parts).numpy())


def learn(module: nn.Module, parts: Parts, seed: int) -> Learned:
    """Train ``module`` until one part of an item finds the rest of it among all other items.

    The loss is the symmetric contrastive one; which part asks is drawn anew at every step. Where no epoch is better
    than none on the items kept apart, the module stays as it was.
    """
    several = parts.taken(parts.present.sum(axis=1) > 1)
    if len(several) >= LEAST:
        items = np.random.default_rng(seed).permutation(len(several))
        apart = int(KEPT_APART * len(items))

        def loss(rows: Integers, random: np.random.Generator) -> torch.Tensor:
            chosen = several.taken(rows)
            draws = np.where(chosen.present, random.random(chosen.present.shape), -1)
            asks = draws == draws.max(axis=1, keepdims=True)
            fused = (_fused(module, chosen.only(kept)) for kept in (asks, ~asks))
            first, second = (nn.functional.normalize(each, dim=1) for each in fused)
            return info_nce(first, second, SHARPNESS)

        random = np.random.default_rng(seed)
        train(
            module,
            lambda rows: loss(rows, random),
            items[apart:],
            lambda: loss(items[:apart], np.random.default_rng(seed)),
            SCHEDULE,
            seed,
        )
    return Learned(module.eval())


def seeded(seed: int) -> torch.Generator:
    """A source of starts."""
    return torch.Generator().manual_seed(seed)


def small(*shape: int, random: torch.Generator) -> nn.Parameter:
    """A parameter that starts near nothing."""
    return nn.Parameter(0.1 / shape[-2] ** 0.5 * torch.randn(shape, generator=random))


def _fused(module: nn.Module, parts: Parts) -> torch.Tensor:
    fused: torch.Tensor = module(torch.from_numpy(parts.vectors), torch.from_numpy(parts.present))
    return fused
