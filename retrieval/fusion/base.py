"""The input of a fusion, and the interface of a fitted fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from retrieval.arrays.norms import unit
from retrieval.errors import AlignmentError
from retrieval.types import Integers, Matrix, Modality


@dataclass(frozen=True)
class Parts:
    """Vectors of n items in m modalities, in the aligned space.

    Attributes:
        vectors: (n, m, d) float32, unit norm; zeros where an item lacks a modality.
        present: (n, m) bool; every item has at least one.
        modalities: the m modalities, in order.
    """

    vectors: Matrix
    present: NDArray[np.bool_]
    modalities: tuple[Modality, ...]

    def __post_init__(self) -> None:
        if self.vectors.shape[:2] != self.present.shape or len(self.modalities) != self.present.shape[1]:
            raise AlignmentError(
                f"expected vectors (n, m, d) and presence (n, m) of {len(self.modalities)} modalities, "
                f"not {self.vectors.shape} and {self.present.shape}"
            )
        if not self.present.any(axis=1).all():
            raise AlignmentError("an item has nothing to fuse: leave out items without any vector")

    @classmethod
    def of(
        cls, tables: Mapping[Modality, tuple[Matrix, Integers]], modalities: Sequence[Modality]
    ) -> tuple[Parts, Integers]:
        """Collect parts from tables of (rows, d) vectors and (rows,) item numbers; also return the (n,) item numbers.

        Several vectors of one item and modality become their mean, scaled to unit norm.
        """
        items = np.unique(
            np.concatenate([tables[modality][1] for modality in modalities if modality in tables])
        )
        dimension = next(iter(tables.values()))[0].shape[1]
        sums = np.zeros((len(items), len(modalities), dimension), np.float32)
        present = np.zeros(sums.shape[:2], np.bool_)
        for at, modality in enumerate(modalities):
            if modality in tables:
                vectors, row_items = tables[modality]
                rows = np.searchsorted(items, row_items)
                np.add.at(sums[:, at], rows, vectors)
                present[rows, at] = True
        scaled = unit(sums.reshape(-1, dimension)).reshape(sums.shape)
        return cls(scaled, present, tuple(modalities)), items

    @classmethod
    def single(cls, vectors: Matrix, of: Modality | None, modalities: Sequence[Modality]) -> Parts:
        """Return items with one (n, d) vector each, of modality ``of``; if ``modalities`` lacks it, of all of them."""
        present = np.zeros((len(vectors), len(modalities)), np.bool_)
        present[:, modalities.index(of) if of in modalities else slice(None)] = True
        return cls(np.where(present[:, :, None], vectors[:, None], np.float32(0)), present, tuple(modalities))

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, rows: Integers | NDArray[np.bool_]) -> Parts:
        """Return the parts of the items ``rows``."""
        return Parts(self.vectors[rows], self.present[rows], self.modalities)

    def keep_only(self, mask: NDArray[np.bool_]) -> Parts:
        """Return the same items with only the parts that the (n, m) ``mask`` selects."""
        present = self.present & mask
        return Parts(np.where(present[:, :, None], self.vectors, np.float32(0)), present, self.modalities)

    def impute_missing(self) -> Matrix:
        """Return (n, m, d) float32 vectors; a missing one is replaced by the unit mean of the item's other vectors.

        All vectors are in one space, so this mean is the expected value of the missing one.
        """
        mean = unit(self.vectors.sum(axis=1))
        return np.where(self.present[:, :, None], self.vectors, mean[:, None])


class Fusion(Protocol):
    """A fitted fusion: turns the parts of an item into one vector. A query is an item with one part."""

    def __call__(self, parts: Parts) -> Matrix:
        """Return (n, k) float32 of unit norm."""
        ...

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Return the arrays from which ``restored`` rebuilds it."""
        ...

    @classmethod
    def restored(cls, arrays: Mapping[str, NDArray[Any]], modalities: Sequence[Modality]) -> Self:
        """Restore a fusion of these modalities from its ``arrays``."""
        ...


class ArrayFusion:
    """Base of fusions that are a dataclass of arrays and nothing else."""

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Return the arrays from which ``restored`` rebuilds it."""
        return vars(self)

    @classmethod
    def restored(cls, arrays: Mapping[str, NDArray[Any]], modalities: Sequence[Modality]) -> Self:
        """Rebuild it from ``arrays``."""
        del modalities
        return cls(**arrays)
