"""Training task and loop shared by the learned fusions. A trained fusion needs only NumPy."""

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
HELD_OUT_SHARE = 0.2
"""Share of the items held out to decide when to stop."""
MIN_ITEMS = 20
"""With fewer items that have several parts, nothing is learned: the fusion keeps its starting values."""
RANK = 16


@dataclass(frozen=True)
class LearnedFusion(ABC):
    """A formula with learned values that works in NumPy and PyTorch: trained with PyTorch, applied with NumPy.

    Attributes:
        values: the learned values, by their names in the formula.
    """

    values: Mapping[str, Matrix]

    @staticmethod
    @abstractmethod
    def start(modalities: int, dimension: int, random: np.random.Generator) -> dict[str, Matrix]:
        """Return the starting values."""

    @staticmethod
    @abstractmethod
    def formula(xp: Any, values: Mapping[str, Any], vectors: Any, present: Any) -> Any:
        """Map (n, m, d) vectors (zeros if missing) and (n, m) presence to (n, k); ``xp`` is NumPy or PyTorch."""

    def __call__(self, parts: Parts) -> Matrix:
        """Return (n, k) float32 of unit norm."""
        fused: Matrix = self.formula(np, self.values, parts.vectors, parts.present)
        return unit(fused)

    def arrays(self) -> Mapping[str, Matrix]:
        """Return the arrays from which ``restored`` rebuilds it."""
        return self.values

    @classmethod
    def restored(cls, arrays: Mapping[str, Any], modalities: Sequence[Modality]) -> Self:
        """Rebuild it from ``arrays``."""
        del modalities
        return cls(arrays)


LearnedT = TypeVar("LearnedT", bound=LearnedFusion)


def learn(kind: type[LearnedT], parts: Parts, seed: int) -> LearnedT:
    """Train a fusion so that one part of an item finds the rest of the item among all others.

    The loss is the symmetric contrastive one; the part that serves as query is drawn again at every step. If no epoch
    improves on the starting values for the held-out items, these values are kept.
    """
    import torch
    from torch import nn

    from retrieval.alignment.methods.contrastive import INITIAL_INVERSE_TEMPERATURE, info_nce

    values = kind.start(len(parts.modalities), parts.vectors.shape[2], np.random.default_rng(seed))
    several = parts.take(parts.present.sum(axis=1) > 1)
    if len(several) < MIN_ITEMS:
        return kind(values)
    learned = nn.ParameterDict({name: nn.Parameter(torch.as_tensor(array)) for name, array in values.items()})
    items = np.random.default_rng(seed).permutation(len(several))
    held_out = int(HELD_OUT_SHARE * len(items))

    def fused(chosen: Parts) -> torch.Tensor:
        rows_fused = kind.formula(
            torch, dict(learned.items()), torch.as_tensor(chosen.vectors), torch.as_tensor(chosen.present)
        )
        return nn.functional.normalize(rows_fused, dim=1)

    def loss(rows: Integers, random: np.random.Generator) -> torch.Tensor:
        chosen = several.take(rows)
        draws = np.where(chosen.present, random.random(chosen.present.shape), -1)
        asks = draws == draws.max(axis=1, keepdims=True)
        return info_nce(
            fused(chosen.keep_only(asks)),
            fused(chosen.keep_only(~asks)),
            torch.tensor(INITIAL_INVERSE_TEMPERATURE),
        )

    random = np.random.default_rng(seed)
    train(
        learned,
        lambda rows: loss(rows, random),
        items[held_out:],
        lambda: loss(items[:held_out], np.random.default_rng(seed)),
        SCHEDULE,
        seed,
    )
    return kind({name: array.numpy(force=True) for name, array in learned.items()})


def small(random: np.random.Generator, *shape: int) -> Matrix:
    """Return small random starting values."""
    drawn: Matrix = random.standard_normal(shape, np.float32)
    return drawn * np.float32(0.1 / shape[-2] ** 0.5)
