"""What is fused, and what a fusion is once fitted."""

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
    """What n items have of m modalities, in the aligned space.

    Attributes:
        vectors: (n, m, d) float32, unit norm; zeros where an item lacks a modality.
        present: (n, m) bool; every item has at least one.
        modalities: the m.
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
            raise AlignmentError("an item with nothing to fuse: leave out items without any vector")

    @classmethod
    def of(
        cls, tables: Mapping[Modality, tuple[Matrix, Integers]], modalities: Sequence[Modality]
    ) -> tuple[Parts, Integers]:
        """The parts of the items in tables of (rows, d) vectors and (rows,) items, and (n,) which items these are.

        Several vectors of an item and modality become their unit mean.
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
        """Items that have nothing but one (n, d) vector each, of one modality; of one unknown, as if of every."""
        present = np.zeros((len(vectors), len(modalities)), np.bool_)
        present[:, modalities.index(of) if of in modalities else slice(None)] = True
        return cls(np.where(present[:, :, None], vectors[:, None], np.float32(0)), present, tuple(modalities))

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, rows: Integers | NDArray[np.bool_]) -> Parts:
        """Those items alone."""
        return Parts(self.vectors[rows], self.present[rows], self.modalities)

    def keep_only(self, kept: NDArray[np.bool_]) -> Parts:
        """The same items with nothing but what (n, m) ``kept`` leaves them."""
        present = self.present & kept
        return Parts(np.where(present[:, :, None], self.vectors, np.float32(0)), present, self.modalities)

    def impute_missing(self) -> Matrix:
        """(n, m, d) float32: the vectors, and in the place of those that lack the unit mean of the item's others.

        All are of one space, so that this is what a lacking one would be expected to be.
        """
        mean = unit(self.vectors.sum(axis=1))
        return np.where(self.present[:, :, None], self.vectors, mean[:, None])


class Fusion(Protocol):
    """How the parts of an item become one vector; queries, which are items with one part, too."""

    def __call__(self, parts: Parts) -> Matrix:
        """(n, k) float32 of unit norm."""
        ...

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """What it takes to have it again."""
        ...

    @classmethod
    def restored(cls, arrays: Mapping[str, NDArray[Any]], modalities: Sequence[Modality]) -> Self:
        """The fusion of which these are the ``arrays``, of parts of these modalities."""
        ...


class ArrayFusion:
    """What a fusion shares with others that are nothing but a dataclass of arrays."""

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """What it takes to have it again."""
        return vars(self)

    @classmethod
    def restored(cls, arrays: Mapping[str, NDArray[Any]], modalities: Sequence[Modality]) -> Self:
        """From ``arrays``."""
        del modalities
        return cls(**arrays)
