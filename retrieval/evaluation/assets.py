"""The assets of one modality as an evaluation sees them: their names, captions, splits and labels."""

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
"""What a name may not hold: TREC's files part columns by white space, and ``#`` numbers an item's assets."""


@dataclass(frozen=True)
class Assets:
    """Everything there is of one modality, in the order of its vectors.

    Attributes:
        table: asset and item numbers.
        keys: the id of each one's item.
        ordinals: (n,) int64, position among its item's assets of this modality, from 0.
        texts: the captions; None for what is none.
    """

    table: AssetTable
    keys: list[str]
    ordinals: Integers
    texts: list[str | None]

    @classmethod
    def of(cls, index: IndexReader, modality: Modality) -> Assets:
        """Those of ``modality`` in an index.

        Raises:
            OptionError: the index has no assets of it.
        """
        table = index.table(modality)
        statement = (
            select(Asset.id, Item.key, Asset.ordinal, Asset.text)
            .join(Item, Asset.item_id == Item.id)
            .where(Asset.modality == str(modality))
        )
        with index.catalog.session() as session:
            found = {
                number: (key, ordinal, text) for number, key, ordinal, text in session.execute(statement)
            }
        rows = [found[number] for number in table.assets.tolist()]
        ordinals = np.array([ordinal for _, ordinal, _ in rows], dtype=np.int64)
        return cls(table, [key for key, _, _ in rows], ordinals, [text for _, _, text in rows])

    @cached_property
    def names(self) -> list[str]:
        """How a TREC file calls each one: the item's id, with ``#`` and a number where items have several.

        White space, ``%`` and ``#`` in an id are percent-encoded, as in an address.
        """
        keys = [_encoded(key) for key in self.keys]
        if not self.ordinals.any():
            return keys
        return [f"{key}#{ordinal}" for key, ordinal in zip(keys, self.ordinals.tolist(), strict=True)]

    def chosen(self, *, held_out_only: bool, captions: int | None = None) -> Integers:
        """(m,) int64 ascending: the rows of a split; whole media, the first ``captions`` of each item."""
        chosen: NDArray[np.bool_] = self.table.whole
        if held_out_only:
            chosen = chosen & self.table.held_out
        if captions is not None:
            chosen = chosen & (self.ordinals < captions)
        return np.flatnonzero(chosen).astype(np.int64)

    @cached_property
    def _by_name(self) -> dict[str, list[int]]:
        """The rows of whole media by the item's id, and by id and number."""
        rows: dict[str, list[int]] = {}
        for row in np.flatnonzero(self.table.whole).tolist():
            rows.setdefault(self.keys[row], []).append(row)
            rows.setdefault(f"{_encoded(self.keys[row])}#{self.ordinals[row]}", []).append(row)
        return rows

    def rows_of(self, name: str) -> list[int]:
        """The rows that a TREC file's ``name`` means: an asset, or all assets of an item; none if unknown."""
        return self._by_name.get(name) or self._by_name.get(unquote(name)) or []


def _encoded(key: str) -> str:
    return RESERVED.sub(lambda match: quote(match[0], safe=""), key)


def per_item(items: Integers) -> dict[str, float]:
    """How many assets the items have: the least, the mean and the most."""
    counts = np.unique(items, return_counts=True)[1]
    return {"least": int(counts.min()), "mean": float(counts.mean()), "most": int(counts.max())}


def first_names(names: Iterable[str], limit: int = 100) -> list[str]:
    """At most ``limit`` of the names, for a listing that is to stay readable."""
    return [name for name, _ in zip(names, range(limit), strict=False)]
