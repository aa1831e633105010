"""Assets of a generation projected into the aligned space: the input of its vector indexes."""

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
    """Assets, their stored features, and the alignment that projects these.

    Attributes:
        settings: settings of the index.
        alignment: maps features into the aligned space.
        tables: assets of each modality that has an encoder.
        stores: feature stores of these modalities.
        device: device for fitting fusions; ``"cuda"`` also trains indexes and adds vectors on a GPU.
    """

    settings: Settings
    alignment: Alignment
    tables: Mapping[Modality, AssetTable]
    stores: Mapping[Modality, FeatureStore]
    device: str = "cpu"

    @property
    def present(self) -> dict[Modality, AssetTable]:
        """Tables of the modalities that have assets."""
        return {modality: table for modality, table in self.tables.items() if len(table.assets)}

    def read(self, modality: Modality, features: Integers) -> Matrix:
        """Return the (n, d) float32 projected features of these (n,) rows of the modality's store."""
        return self.alignment.project(modality, self.stores[modality].read(features))

    def blocks(self, modality: Modality) -> Iterator[Matrix]:
        """Yield the vectors of all assets of a modality, in blocks, in the order of its table."""
        features = SelectedRows(self.stores[modality], self.tables[modality].features)
        return (self.alignment.project(modality, features[block]) for block in lazy.blocks(features))
