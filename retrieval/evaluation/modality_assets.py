"""The assets of one modality for an evaluation: names, captions, splits and labels."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from retrieval.search.index_reader import IndexReader
from retrieval.storage.catalog import AssetTable
from retrieval.storage.schema import Asset, Item
from retrieval.types import Integers, Modality

RESERVED = re.compile(r"[\s%#]")
"""Characters that a name must not contain: white space separates the columns of a TREC file, ``#`` precedes the
number of an asset in its item, and ``%`` starts an encoded character."""


@dataclass(frozen=True)
class Assets:
    """All assets of one modality, in the order of its vectors.

    Attributes:
        table: asset and item numbers.
        item_ids: the id of each asset's item.
        ordinals: (n,) int64, position among the item's assets of this modality, from 0.
        texts: the captions; None for an asset that is not a caption.
    """

    table: AssetTable
    item_ids: list[str]
    ordinals: Integers
    texts: list[str | None]

    @classmethod
    def load(cls, index: IndexReader, modality: Modality) -> Assets:
        """Read the assets of ``modality`` from an index.

        Raises:
            OptionError: the index has no assets of this modality.
        """
        table = index.table(modality)
        statement = (
            select(Asset.id, Item.key, Asset.ordinal, Asset.text)
            .join(Item, Asset.item_id == Item.id)
            .where(Asset.modality == str(modality))
        )
        with index.catalog.session() as session:
            records = {
                number: (item_id, ordinal, text)
                for number, item_id, ordinal, text in session.execute(statement)
            }
        rows = [records[number] for number in table.assets.tolist()]
        ordinals = np.array([ordinal for _, ordinal, _ in rows], dtype=np.int64)
        return cls(table, [item_id for item_id, _, _ in rows], ordinals, [text for _, _, text in rows])

    @cached_property
    def names(self) -> list[str]:
        """The name of each asset in a TREC file: the item's id, then ``#`` and a number if any item has several.

        White space, ``%`` and ``#`` in an id are percent-encoded, as in a URL.
        """
        names = [_percent_encoded(item_id) for item_id in self.item_ids]
        if not self.ordinals.any():
            return names
        return [f"{name}#{ordinal}" for name, ordinal in zip(names, self.ordinals.tolist(), strict=True)]

    def select_rows(self, *, held_out_only: bool, captions: int | None = None) -> Integers:
        """Return the rows of a split, (m,) int64 ascending: whole media, the first ``captions`` of each item."""
        selected: NDArray[np.bool_] = self.table.whole
        if held_out_only:
            selected = selected & self.table.held_out
        if captions is not None:
            selected = selected & (self.ordinals < captions)
        return np.flatnonzero(selected).astype(np.int64)

    @cached_property
    def _rows_by_name(self) -> dict[str, list[int]]:
        """Rows of whole media, by the item's id and by id and number."""
        rows: dict[str, list[int]] = {}
        for row in np.flatnonzero(self.table.whole).tolist():
            item_id = self.item_ids[row]
            rows.setdefault(item_id, []).append(row)
            rows.setdefault(f"{_percent_encoded(item_id)}#{self.ordinals[row]}", []).append(row)
        return rows

    def rows_named(self, name: str) -> list[int]:
        """Return the rows for a name in a TREC file: one asset, or all assets of an item; empty if unknown."""
        return self._rows_by_name.get(name) or self._rows_by_name.get(unquote(name)) or []


def _percent_encoded(item_id: str) -> str:
    return RESERVED.sub(lambda match: quote(match[0], safe=""), item_id)


def assets_per_item(items: Integers) -> dict[str, float]:
    """Return the smallest, mean and largest number of assets per item, from the item number of each asset."""
    counts = np.unique(items, return_counts=True)[1]
    return {"least": int(counts.min()), "mean": float(counts.mean()), "most": int(counts.max())}


def first_names(names: Iterable[str], limit: int = 100) -> list[str]:
    """Return the first ``limit`` names, so that a list stays readable."""
    return [name for name, _ in zip(names, range(limit), strict=False)]
