"""What items have, gathered a block of items at a time from wherever their vectors are."""

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
"""Items that are fused together."""

SHOWN = (Modality.IMAGE, Modality.VIDEO, Modality.AUDIO, Modality.TEXT)
"""By what an item is shown: the first of these that it has."""


@dataclass(frozen=True)
class ItemParts:
    """Items, and where what they have stands.

    Attributes:
        items: (n,) their numbers, in the order of their ids.
        tables: the assets of each modality that takes part, of these items.
        read: the (r, d) unit vectors, in the aligned space, of these rows of a modality's table.
        modalities: of the parts, those of the tables and maybe others, which every item then lacks.
        dimension: d.
    """

    items: Integers
    tables: Mapping[Modality, AssetTable]
    read: Callable[[Modality, Integers], Matrix]
    modalities: tuple[Modality, ...]
    dimension: int

    @cached_property
    def _rows(self) -> dict[Modality, tuple[Integers, Integers]]:
        """By modality, the rows of whole assets in the order of the items, and where each item's begin."""
        rank = np.zeros(self.items.max(initial=-1) + 1, np.int64)
        rank[self.items] = np.arange(len(self.items))
        found = {}
        for modality, table in self.tables.items():
            whole = np.flatnonzero(table.whole)
            places = rank[table.items[whole]]
            order = np.argsort(places, kind="stable")
            starts = np.searchsorted(places[order], np.arange(len(self.items) + 1))
            found[modality] = whole[order], starts
        return found

    def parts(self, chosen: Integers) -> Parts:
        """Of the items at these places, ascending, all of which have something."""
        vectors = {}
        for modality in self.tables:
            whole, starts = self._rows[modality]
            own = np.concatenate([whole[starts[at] : starts[at + 1]] for at in chosen] or [whole[:0]])
            if len(own):
                places = np.repeat(chosen, starts[chosen + 1] - starts[chosen])
                vectors[modality] = self.read(modality, own), places
        if not vectors:
            nothing = np.zeros((0, len(self.modalities), self.dimension), np.float32)
            return Parts(nothing, nothing[:, :, 0].astype(np.bool_), self.modalities)
        return Parts.of(vectors, self.modalities)[0]

    def fused(self, fusion: Fusion, chosen: Integers) -> Iterator[Matrix]:
        """The vectors of the items at these places, ascending, a block at a time."""
        return (fusion(self.parts(chosen[block])) for block in slices(len(chosen), ITEMS_PER_BLOCK))

    def shown(self) -> Integers:
        """(n,) of each item the asset that shows it; -1 where nothing of it takes part."""
        assets = np.full(len(self.items), -1, np.int64)
        for modality in reversed([modality for modality in SHOWN if modality in self.tables]):
            whole, starts = self._rows[modality]
            has = np.flatnonzero(starts[1:] > starts[:-1])
            assets[has] = self.tables[modality].assets[whole[starts[has]]]
        return assets
