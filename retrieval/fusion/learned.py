"""What learned fusions share: the task they learn, and the loop. They are applied by NumPy alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from retrieval.alignment.trained.training import Schedule, train
from retrieval.arrays.norms import unit
from retrieval.fusion.base import Parts
from retrieval.types import Integers, Matrix, Modality

if TYPE_CHECKING:
    import torch

SCHEDULE = Schedule(rate=1e-3, decay=0.1, batch=256, epochs=20, patience=3)
KEPT_APART = 0.2
"""Share of the items that tell when to stop."""
LEAST = 20
"""Items with several parts below which nothing is learned: the fusion stays the mean that it begins as."""
RANK = 16


@dataclass(frozen=True)
class Learned(ABC):
    """A formula of learned numbers, which NumPy and PyTorch read alike: trained by the one, applied by the other.

    Attributes:
        values: the numbers, by the names that the formula knows them by.
    """

    values: Mapping[str, Matrix]

    @staticmethod
    @abstractmethod
    def start(modalities: int, dimension: int, random: np.random.Generator) -> dict[str, Matrix]:
        """The numbers that it begins with."""

    @staticmethod
    @abstractmethod
    def formula(xp: Any, values: Mapping[str, Any], vectors: Any, present: Any) -> Any:
        """(n, k) of (n, m, d) vectors, zeros where they lack, and (n, m) presence; ``xp`` is NumPy or PyTorch."""

    def __call__(self, parts: Parts) -> Matrix:
        """(n, k) float32 of unit norm."""
        fused: Matrix = self.formula(np, self.values, parts.vectors, parts.present)
        return unit(fused)

    def arrays(self) -> Mapping[str, Matrix]:
        """What it takes to have it again."""
        return self.values

    @classmethod
    def restored(cls, arrays: Mapping[str, Any], modalities: Sequence[Modality]) -> Self:
        """From ``arrays``."""
        del modalities
        return cls(arrays)


Kind = TypeVar("Kind", bound=Learned)


def learn(kind: type[Kind], parts: Parts, seed: int) -> Kind:
    """Train a fusion until one part of an item finds the rest of it among all other items.

    The loss is the symmetric contrastive one; which part asks is drawn anew at every step. Where no epoch is better
    than none on the items kept apart, it stays as it began.
    """
    import torch
    from torch import nn

    from retrieval.alignment.methods.contrastive import INITIAL_INVERSE_TEMPERATURE, info_nce

    values = kind.start(len(parts.modalities), parts.vectors.shape[2], np.random.default_rng(seed))
    several = parts.taken(parts.present.sum(axis=1) > 1)
    if len(several) < LEAST:
        return kind(values)
    learned = nn.ParameterDict({name: nn.Parameter(torch.as_tensor(own)) for name, own in values.items()})
    items = np.random.default_rng(seed).permutation(len(several))
    apart = int(KEPT_APART * len(items))

    def fused(chosen: Parts) -> torch.Tensor:
        made = kind.formula(
            torch, dict(learned.items()), torch.as_tensor(chosen.vectors), torch.as_tensor(chosen.present)
        )
        return nn.functional.normalize(made, dim=1)

    def loss(rows: Integers, random: np.random.Generator) -> torch.Tensor:
        chosen = several.taken(rows)
        draws = np.where(chosen.present, random.random(chosen.present.shape), -1)
        asks = draws == draws.max(axis=1, keepdims=True)
        return info_nce(
            fused(chosen.only(asks)), fused(chosen.only(~asks)), torch.tensor(INITIAL_INVERSE_TEMPERATURE)
        )

    random = np.random.default_rng(seed)
    train(
        learned,
        lambda rows: loss(rows, random),
        items[apart:],
        lambda: loss(items[:apart], np.random.default_rng(seed)),
        SCHEDULE,
        seed,
    )
    return kind({name: own.numpy(force=True) for name, own in learned.items()})


def small(random: np.random.Generator, *shape: int) -> Matrix:
    """Numbers near nothing to begin with."""
    drawn: Matrix = random.standard_normal(shape, np.float32)
    return drawn * np.float32(0.1 / shape[-2] ** 0.5)
