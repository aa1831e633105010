"""Whole items as one vector each: the fusion is fitted, all items are fused and indexed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from indexer import background, indexes
from indexer.publish import Draft
from indexer.settings import Settings
from retrieval import arrays, rows
from retrieval.alignment.base import Alignment
from retrieval.catalog import AssetTable
from retrieval.features import FeatureStore
from retrieval.fusion import registry
from retrieval.fusion.base import Parts
from retrieval.fusion.saved import Fused
from retrieval.rows import MatrixLike, slices
from retrieval.types import ITEM, Integers, Matrix, Modality
from retrieval.vectors import sample as samples

FITTED = 5000
"""Items that a fusion learns from, at most."""

AT_ONCE = 1024
"""Items that are fused together."""

SHOWN = (Modality.IMAGE, Modality.VIDEO, Modality.AUDIO, Modality.TEXT)
"""By what an item is shown: the first of these that it has."""


@dataclass(frozen=True)
class _Gathered:
    """What items have, wherever it stands.

    Attributes:
        items: (n,) their numbers, in the order of their ids.
        tables: the assets of each modality that there is something of.
        stores: their features.
        alignment: into the space.
    """

    items: Integers
    tables: Mapping[Modality, AssetTable]
    stores: Mapping[Modality, FeatureStore]
    alignment: Alignment

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
        """Of the items at these places, ascending."""
        vectors = {}
        for modality, table in self.tables.items():
            whole, starts = self._rows[modality]
            own = np.concatenate([whole[starts[at] : starts[at + 1]] for at in chosen] or [whole[:0]])
            if len(own):
                features = self.stores[modality].read(table.features[own])
                places = np.repeat(chosen, starts[chosen + 1] - starts[chosen])
                vectors[modality] = self.alignment.project(modality, features), places
        if not vectors:
            nothing = np.zeros((0, len(self.tables), self.alignment.dimension), np.float32)
            return Parts(nothing, nothing[:, :, 0].astype(np.bool_), tuple(self.tables))
        return Parts.of(vectors, tuple(self.tables))[0]

    def shown(self) -> Integers:
        """(n,) of each item the asset that shows it."""
        assets = np.full(len(self.items), -1, np.int64)
        for modality in reversed([modality for modality in SHOWN if modality in self.tables]):
            whole, starts = self._rows[modality]
            has = np.flatnonzero(starts[1:] > starts[:-1])
            assets[has] = self.tables[modality].assets[whole[starts[has]]]
        return assets

    def learnable(self, seed: int) -> Integers:
        """Places of items that are not held out, ascending; a draw of them where there are many."""
        held = {int(item) for table in self.tables.values() for item in table.items[table.held_out]}
        free = np.flatnonzero(~np.isin(self.items, list(held)))
        return np.sort(np.random.default_rng(seed).permutation(free)[:FITTED])


def write(
    draft: Draft,
    settings: Settings,
    alignment: Alignment,
    tables: Mapping[Modality, AssetTable],
    stores: Mapping[Modality, FeatureStore],
    asking: Mapping[Modality, tuple[Matrix, Integers]],
    *,
    device: str = "cpu",
) -> dict[str, Any]:
    """Write the fusion that the settings name and the index of items.

    Args:
        draft: the generation in the making.
        settings: which fusion.
        alignment: from features into the space.
        tables: the assets of each modality.
        stores: their features.
        asking: a sample of what may ask, as ``background.queries`` gives it.
        device: ``"cuda"`` trains and adds on a GPU.

    Returns:
        The manifest's entry; empty where there are no items.
    """
    method = registry.check(str(settings.fuse))
    held = {modality: table for modality, table in tables.items() if len(table.assets)}
    if not held:
        return {}
    gathered = _Gathered(draft.catalog.ordered_items(), held, stores, alignment)
    fusion = registry.fit(method, gathered.parts(gathered.learnable(settings.seed)), settings.seed)
    fused = Fused(method, tuple(held), fusion)
    fused.save(draft.files.fusion)
    places, path = np.arange(len(gathered.items)), draft.files.vectors(ITEM)
    made = (fusion(gathered.parts(places[block])) for block in slices(len(places), AT_ONCE))
    queries = {of: (fused.asking(vectors, of), whose) for of, (vectors, whose) in asking.items()}
    sample = {of: vectors for of, (vectors, _) in queries.items()}
    columns = fusion(gathered.parts(places[:1])).shape[1]
    with rows.filed(path.with_suffix(".fused"), made, columns) as vectors:
        entry = indexes.built(draft, settings, vectors, sample, path, device=device)
        scores = _background(vectors, gathered.items, queries, settings.seed)
    shown = gathered.shown()
    arrays.write(draft.files.assets(ITEM), np.stack([shown, shown], axis=1))
    return {**entry, "fusion": method, "background": scores}


def _background(
    vectors: MatrixLike, items: Integers, asking: Mapping[Modality, tuple[Matrix, Integers]], seed: int
) -> background.Background:
    """By what asks, items among it, the scores with items that it has nothing to do with."""
    chosen, other = samples.draw(len(vectors), seed + 1), samples.draw(len(vectors), seed)
    itself = (ITEM, (vectors[other], items[other]))
    return background.against([*asking.items(), itself], vectors[chosen], items[chosen], items[chosen])
