"""Whole items as an evaluation asks for them: one vector each, of what an item has besides the modality that asks.

An item's own vector in the index is of all that it has. Whoever asks with a caption of it would find the caption.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from retrieval.evaluation.assets import Assets
from retrieval.fusion.fitted import FittedFusion
from retrieval.fusion.item_parts import ItemParts
from retrieval.search.index_reader import IndexReader
from retrieval.storage.catalog import AssetTable
from retrieval.types import Integers, Matrix, Modality

ITEM_RULE = "fused of what they have besides the asking modality; every one compared"
"""What a protocol says of items that were asked for."""


@dataclass(frozen=True)
class ItemPool:
    """The items that have something besides one modality.

    Attributes:
        assets: a row an item, in the order of the ids; the asset that shows it stands for it.
        besides: that modality.
        fusion: by which what asks and what is asked become vectors.
    """

    assets: Assets
    besides: Modality
    fusion: FittedFusion
    _gathered: ItemParts
    _places: Integers

    @classmethod
    def of(
        cls,
        index: IndexReader,
        held: Mapping[Modality, Assets],
        besides: Modality,
        fusion: FittedFusion,
        captions: int | None = None,
    ) -> ItemPool:
        """Those of an index.

        Args:
            index: the index.
            held: the assets of its modalities.
            besides: the modality that asks.
            fusion: the index's own, or another of the same space.
            captions: how many of an item's captions are part of it, the first ones; all when None.
        """
        rows = {
            modality: assets.chosen(held_out_only=False, captions=captions)
            for modality, assets in held.items()
            if modality is not besides
        }
        tables = {modality: _taken(held[modality].table, own) for modality, own in rows.items()}

        def read(modality: Modality, own: Integers) -> Matrix:
            return index.modality_index(modality).index.vectors(rows[modality][own])

        items = index.catalog.ordered_items()
        gathered = ItemParts(items, tables, read, fusion.modalities, index.space.dimension)
        shown = gathered.shown()
        places = np.flatnonzero(shown >= 0)
        kept_back = [item for table in tables.values() for item in table.items[table.held_out].tolist()]
        ids = index.catalog.item_ids()
        chosen = items[places]
        table = AssetTable(shown[places], shown[places], chosen, places, np.isin(chosen, kept_back))
        names = [ids[item] for item in chosen.tolist()]
        assets = Assets(table, names, np.zeros(len(places), np.int64), [None] * len(places))
        return cls(assets, besides, fusion, gathered, places)

    def asking(self, vectors: Matrix) -> Matrix:
        """(q, k) float32: (q, d) vectors of the modality that asks, as items that have nothing else."""
        return self.fusion.query_vector(vectors, self.besides)

    def vectors(self, rows: Integers) -> Matrix:
        """(n, k) float32: the items of these rows, ascending."""
        return np.concatenate(list(self._gathered.fused(self.fusion.fusion, self._places[rows])))


def _taken(table: AssetTable, rows: Integers) -> AssetTable:
    """Those rows of it alone."""
    return replace(table, **{name: getattr(table, name)[rows] for name in AssetTable.__slots__})
