"""What the generation's assets are in the aligned space: everything that the vectors of an index are made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from indexer.settings import Settings
from retrieval.alignment.base import Alignment
from retrieval.arrays import lazy
from retrieval.arrays.lazy import SelectedRows
from retrieval.storage.catalog import AssetTable
from retrieval.storage.feature_store import FeatureStore
from retrieval.types import Integers, Matrix, Modality


@dataclass(frozen=True, slots=True)
class ProjectedAssets:
    """Assets, their stored features, and the map from these into the space.

    Attributes:
        settings: what is asked of the index.
        alignment: from features into the space.
        tables: the assets of each modality that has an encoder.
        stores: their features.
        device: where fusions are learned; ``"cuda"`` also trains indexes and adds vectors on a GPU.
    """

    settings: Settings
    alignment: Alignment
    tables: Mapping[Modality, AssetTable]
    stores: Mapping[Modality, FeatureStore]
    device: str = "cpu"

    @property
    def present(self) -> dict[Modality, AssetTable]:
        """The tables of the modalities that have assets."""
        return {modality: table for modality, table in self.tables.items() if len(table.assets)}

    def read(self, modality: Modality, features: Integers) -> Matrix:
        """(n, d) float32: the features of these (n,) rows of the modality's store, projected."""
        return self.alignment.project(modality, self.stores[modality].read(features))

    def blocks(self, modality: Modality) -> Iterator[Matrix]:
        """The vectors of all its assets, in blocks, in the order of its table."""
        features = SelectedRows(self.stores[modality], self.tables[modality].features)
        return (self.alignment.project(modality, features[block]) for block in lazy.blocks(features))
