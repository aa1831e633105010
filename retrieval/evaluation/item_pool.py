"""Whole items as the pool of an evaluation: one vector each, fused from all modalities except the query's.

An item's own vector in the index is fused from all of its assets. Searching it with one of the item's captions would
match that caption with itself, so the query's modality is left out here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from retrieval.evaluation.modality_assets import Assets
from retrieval.fusion.item_parts import ItemParts
from retrieval.fusion.stored_fusion import FittedFusion
from retrieval.search.index_reader import IndexReader
from retrieval.storage.catalog import AssetTable
from retrieval.types import Integers, Matrix, Modality

ITEM_RULE = "fused from all modalities except the query's; all items compared"
"""How items became vectors, for the protocol."""


@dataclass(frozen=True)
class ItemPool:
    """The items that have an asset of a modality other than the query's.

    Attributes:
        assets: one row per item, in the order of the ids; each item is represented by the asset that shows it.
        query_modality: the modality of the queries, which no item's vector includes.
        fusion: makes the vectors of queries and items.
    """

    assets: Assets
    query_modality: Modality
    fusion: FittedFusion
    _item_parts: ItemParts
    _positions: Integers

    @classmethod
    def build(
        cls,
        index: IndexReader,
        assets_by_modality: Mapping[Modality, Assets],
        query_modality: Modality,
        fusion: FittedFusion,
        captions: int | None = None,
    ) -> ItemPool:
        """Collect the items of an index.

        Args:
            index: the index.
            assets_by_modality: the assets of its modalities.
            query_modality: the modality of the queries.
            fusion: the index's own, or another one for the same space.
            captions: how many captions of each item to include, the first ones; all when None.
        """
        rows = {
            modality: assets.select_rows(held_out_only=False, captions=captions)
            for modality, assets in assets_by_modality.items()
            if modality is not query_modality
        }
        tables = {
            modality: _table_rows(assets_by_modality[modality].table, selected)
            for modality, selected in rows.items()
        }

        def read(modality: Modality, selected: Integers) -> Matrix:
            return index.modality_index(modality).index.vectors(rows[modality][selected])

        items = index.catalog.ordered_items()
        item_parts = ItemParts(items, tables, read, fusion.modalities, index.space.dimension)
        shown = item_parts.shown()
        positions = np.flatnonzero(shown >= 0)
        held_out = [item for table in tables.values() for item in table.items[table.held_out].tolist()]
        ids = index.catalog.item_ids()
        pool_items = items[positions]
        table = AssetTable(
            shown[positions], shown[positions], pool_items, positions, np.isin(pool_items, held_out)
        )
        names = [ids[item] for item in pool_items.tolist()]
        assets = Assets(table, names, np.zeros(len(positions), np.int64), [None] * len(positions))
        return cls(assets, query_modality, fusion, item_parts, positions)

    def query_vectors(self, vectors: Matrix) -> Matrix:
        """Return (q, k) float32: (q, d) vectors of the query modality, fused as items that have nothing else."""
        return self.fusion.query_vector(vectors, self.query_modality)

    def vectors(self, rows: Integers) -> Matrix:
        """Return the vectors of the items at ascending ``rows``, (n, k) float32."""
        return np.concatenate(list(self._item_parts.fused(self.fusion.fusion, self._positions[rows])))


def _table_rows(table: AssetTable, rows: Integers) -> AssetTable:
    """Return some rows of a table."""
    return replace(table, **{name: getattr(table, name)[rows] for name in AssetTable.__slots__})
