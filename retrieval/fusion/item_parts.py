"""Read the parts of items in blocks, from wherever their vectors are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from retrieval.arrays.lazy import slices
from retrieval.fusion.base import Fusion, Parts
from retrieval.storage.catalog import AssetTable
from retrieval.types import Integers, Matrix, Modality

ITEMS_PER_BLOCK = 1024
"""Number of items that are fused at a time."""

SHOWN = (Modality.IMAGE, Modality.VIDEO, Modality.AUDIO, Modality.TEXT)
"""Order of preference for the asset that represents an item: the first of these modalities that it has."""


@dataclass(frozen=True)
class ItemParts:
    """Items, and where the vectors of their assets are.

    Attributes:
        items: (n,) item numbers, in the order of the ids.
        tables: the assets of these items, for each modality that is fused.
        read: returns the (r, d) unit vectors, in the aligned space, of given rows of a modality's table.
        modalities: modalities of the parts: those of the tables, and maybe others that no item has.
        dimension: number of columns d.
    """

    items: Integers
    tables: Mapping[Modality, AssetTable]
    read: Callable[[Modality, Integers], Matrix]
    modalities: tuple[Modality, ...]
    dimension: int

    @cached_property
    def _rows(self) -> dict[Modality, tuple[Integers, Integers]]:
        """For each modality, the rows of whole assets in the order of the items, and where each item's rows begin."""
        rank = np.zeros(self.items.max(initial=-1) + 1, np.int64)
        rank[self.items] = np.arange(len(self.items))
        rows_by_modality = {}
        for modality, table in self.tables.items():
            whole = np.flatnonzero(table.whole)
            places = rank[table.items[whole]]
            order = np.argsort(places, kind="stable")
            starts = np.searchsorted(places[order], np.arange(len(self.items) + 1))
            rows_by_modality[modality] = whole[order], starts
        return rows_by_modality

    def parts(self, chosen: Integers) -> Parts:
        """Return the parts of the items at these ascending positions; each must have at least one."""
        vectors = {}
        for modality in self.tables:
            whole, starts = self._rows[modality]
            rows = np.concatenate([whole[starts[at] : starts[at + 1]] for at in chosen] or [whole[:0]])
            if len(rows):
                places = np.repeat(chosen, starts[chosen + 1] - starts[chosen])
                vectors[modality] = self.read(modality, rows), places
        if not vectors:
            empty = np.zeros((0, len(self.modalities), self.dimension), np.float32)
            return Parts(empty, empty[:, :, 0].astype(np.bool_), self.modalities)
        return Parts.of(vectors, self.modalities)[0]

    def fused(self, fusion: Fusion, chosen: Integers) -> Iterator[Matrix]:
        """Yield the fused vectors of the items at these ascending positions, block by block."""
        return (fusion(self.parts(chosen[block])) for block in slices(len(chosen), ITEMS_PER_BLOCK))

    def shown(self) -> Integers:
        """Return (n,) the asset that represents each item; -1 for items without any fused asset."""
        assets = np.full(len(self.items), -1, np.int64)
        for modality in reversed([modality for modality in SHOWN if modality in self.tables]):
            whole, starts = self._rows[modality]
            has = np.flatnonzero(starts[1:] > starts[:-1])
            assets[has] = self.tables[modality].assets[whole[starts[has]]]
        return assets
