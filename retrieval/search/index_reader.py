"""An open index: its manifest, catalog, encoders and vectors, each opened at its first use."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from retrieval.alignment.base import Alignment
from retrieval.arrays import npy
from retrieval.errors import DamagedIndexError, OptionError, OutdatedReaderError
from retrieval.fusion.stored_fusion import FittedFusion
from retrieval.runtimes import device as devices
from retrieval.runtimes import registry as runtimes
from retrieval.search.calibration import BACKGROUND, Backgrounds
from retrieval.search.embedding_space import EmbeddingSpace, encoder_names
from retrieval.search.modality_index import ModalityIndex
from retrieval.storage.catalog import AssetTable, Catalog
from retrieval.storage.layout import Layout
from retrieval.storage.manifest import Manifest
from retrieval.types import ITEM, Integers, Modality, Target
from retrieval.vectors import load_index
from retrieval.vectors.base import Subset

CACHED_FILTERS = 16
"""Filters whose matching rows are cached, the most recently used ones. A published generation never changes."""


class IndexReader:
    """One published generation of an index, opened for reading. Any number of threads may use it.

    Encoders, vectors and catalog are opened at their first use.

    Attributes:
        folder: the index folder.
        manifest: of the open generation, the published one when the reader was opened.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        device: str = "auto",
        runtime: str = "auto",
        encoders: Mapping[str, str] | None = None,
    ) -> None:
        """Open the published generation in ``folder``; arguments and errors are those of ``SearchEngine``."""
        self.folder = Path(folder)
        self.manifest = Manifest.read(self.folder)
        self._device = devices.check_device(device)
        self._runtime = runtimes.check_runtime(runtime)
        self._names = encoder_names(
            self.manifest.settings["encoders"], self.manifest.encoders, encoders or {}
        )
        self._generation = Layout(self.folder).generation(self.manifest.generation)
        self._modality_indexes: dict[Target, ModalityIndex] = {}
        self._opening = threading.Lock()
        # Through a proxy, because a reference to itself would keep the reader, and its open files, alive.
        reader = weakref.proxy(self)

        def matching(where: str, target: Target) -> Subset:
            rows: Subset = reader._matching(where, target)
            return rows

        self._rows_matching = lru_cache(CACHED_FILTERS)(matching)

    @property
    def modalities(self) -> list[Modality]:
        """The modalities that have indexed assets."""
        return list(self.manifest.indexes)

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog: items, captions, metadata."""
        self._check_present()
        self._check(self._generation.catalog.name)
        return Catalog(self._generation.catalog)

    @cached_property
    def space(self) -> EmbeddingSpace:
        """The embedding space: encoders and alignment."""
        self._check_present()
        alignment = Alignment.load(self._generation.alignment)
        if alignment.fingerprint != self.manifest.alignment["fingerprint"]:
            raise DamagedIndexError(
                f"{self._generation.alignment} does not match the manifest: restore or rebuild the index"
            )
        return EmbeddingSpace(
            self.manifest.encoders,
            alignment,
            names=self._names,
            device=self._device,
            runtime=self._runtime,
        )

    def modality_index(self, modality: Target) -> ModalityIndex:
        """Return the index of ``modality``, or of ``"item"``.

        Raises:
            OptionError: the index has no assets of this modality.
            DamagedIndexError: its files cannot be read or do not match the manifest.
        """
        with self._opening:
            if modality not in self._modality_indexes:
                self._modality_indexes[modality] = self._open(modality)
            return self._modality_indexes[modality]

    def _open(self, modality: Target) -> ModalityIndex:
        entry = self.manifest.entry(modality)
        if entry is None:
            raise self._no_assets_error(modality)
        self._check_present()
        path, assets_path = self._generation.vectors(modality), self._generation.assets(modality)
        centre = self._generation.centre(modality)
        for name in self.manifest.files_of(modality):
            if name not in (assets_path.name, centre.name):  # these two are checked when they are read
                self._check(name)
        index = load_index.load(entry, path, device=self._device)
        assets: Integers = npy.read(assets_path, self.manifest.files.get(assets_path.name))
        backgrounds = Backgrounds({})  # earlier versions wrote backgrounds of another kind
        if BACKGROUND in entry:
            centre_vector = npy.read(centre, self.manifest.files.get(centre.name))
            backgrounds = Backgrounds(entry[BACKGROUND], centre_vector)
        if not (len(index) == entry["vectors"] and assets.shape == (len(index), 2)):
            raise DamagedIndexError(
                f"{path} holds {len(index)} vectors for {len(assets)} assets, "
                f"but the manifest says {entry['vectors']}: restore or rebuild the index"
            )
        return ModalityIndex(index, assets[:, 0], assets[:, 1], backgrounds)

    @cached_property
    def fusion(self) -> FittedFusion:
        """The fusion that makes one vector of each item, and of queries for items.

        Raises:
            OptionError: the index has no fused items.
            OutdatedReaderError: the generation no longer exists.
            DamagedIndexError: the fusion file does not match its checksum.
        """
        if not self.manifest.items:
            raise self._no_assets_error(ITEM)
        self._check_present()
        self._check(self._generation.fusion.name)
        return FittedFusion.load(self._generation.fusion)

    def table(self, modality: Modality) -> AssetTable:
        """Return the catalog's table of the assets in ``modality``'s vectors, in their order.

        Raises:
            OptionError: the index has no assets of this modality.
            DamagedIndexError: catalog and vectors do not match.
        """
        table = self.catalog.table(modality)
        if not np.array_equal(table.assets, self.modality_index(modality).assets):
            raise DamagedIndexError(
                f"the catalog and the {modality} vectors in {self.folder} are not of one generation: "
                "restore or rebuild the index"
            )
        return table

    def _no_assets_error(self, target: Target) -> OptionError:
        return OptionError(
            f"this index holds no {target}: it holds {', '.join(self.modalities) or 'nothing'}"
            + ("; run 'xmodal realign DIR --fuse METHOD'" if target == ITEM else "")
        )

    def _check(self, name: str) -> None:
        """Check a file of the generation against its checksum, with the quick checks only."""
        checksum, path = self.manifest.files.get(name), self._generation.folder / name
        if checksum and (problem := checksum.check_before_use(path)) is not None:
            raise DamagedIndexError(f"{path} {problem}: run 'xmodal repair {self.folder}'")

    def _check_present(self) -> None:
        if not self._generation.folder.is_dir():
            raise OutdatedReaderError(
                f"generation {self.manifest.generation} of {str(self.folder)!r} no longer exists, because newer ones "
                "were published: open the index again"
            )

    def matching(self, where: str, target: Target) -> Subset:
        """Return the rows of ``target``'s vectors whose items match the filter ``where``; cached by filter.

        Raises:
            OptionError: the index has no assets of this modality.
            ExpressionError: ``where`` does not parse, or names a column that does not exist.
        """
        return self._rows_matching(where, target)

    def _matching(self, where: str, target: Target) -> Subset:
        modality_index = self.modality_index(target)
        return Subset(modality_index.rows_of(self.catalog.matching(where, target)), len(modality_index.index))


class HasIndex(Protocol):
    """Something that searches one open index, for example ``SearchEngine``."""

    @property
    def index(self) -> IndexReader:
        """The open index."""
        ...
