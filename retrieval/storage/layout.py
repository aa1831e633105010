"""The index folder: which file or folder holds what."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from retrieval.encoders.base import EncoderSpec
from retrieval.types import ITEM, Target

MANIFEST = "manifest.json"


KEPT = 2
"""Generations that stay: the published one, and the one before for readers that opened it."""


@dataclass(frozen=True, slots=True)
class Generation:
    """The files of one generation, which never change once it is published."""

    folder: Path

    @property
    def manifest(self) -> Path:
        """A copy of the manifest as it was published with this generation."""
        return self.folder / MANIFEST

    @property
    def catalog(self) -> Path:
        """SQLite: items, assets, failures."""
        return self.folder / "catalog.sqlite"

    @property
    def alignment(self) -> Path:
        """The fitted maps into the aligned space."""
        return self.folder / "alignment.safetensors"

    @property
    def kept_twice(self) -> tuple[Path, ...]:
        """What cannot be derived from anything else in the folder."""
        return self.catalog, self.alignment

    def copy_of(self, path: Path) -> Path:
        """The second copy of a file that is kept twice."""
        return self.folder / "copies" / path.name

    @property
    def fusion(self) -> Path:
        """How an item's parts become one vector, where items have one."""
        return self.folder / f"{ITEM}.fusion.safetensors"

    def vectors(self, modality: Target) -> Path:
        """The FAISS index of one modality, or of items."""
        return self.folder / f"{modality}.faiss"

    def assets(self, modality: Target) -> Path:
        """(n, 2) int64: for each row of the FAISS index its asset, and the whole it is a segment of.

        Of an item, the asset that shows it, twice.
        """
        return self.folder / f"{modality}.assets.npy"

    def centre(self, modality: Target) -> Path:
        """(d,) float32: the mean of a sample of the vectors, as ``retrieval.search.calibration`` wants it."""
        return self.folder / f"{modality}.centre.npy"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things lie in an index folder. Nothing outside this class joins these names."""

    root: Path

    @property
    def manifest(self) -> Path:
        """The manifest: replacing it in one rename is what publishes a generation."""
        return self.root / MANIFEST

    @property
    def lock(self) -> Path:
        """Held by the job that writes."""
        return self.root / "lock"

    @property
    def writer(self) -> Path:
        """Who holds the lock: for the message that others get."""
        return self.root / "writer.json"

    @property
    def journal(self) -> Path:
        """What a job has found out of its files; there only until it publishes."""
        return self.root / "journal"

    @property
    def generations(self) -> Path:
        """The folder of all generations."""
        return self.root / "generations"

    @property
    def cache(self) -> Path:
        """What a server made to show: may be deleted at any time."""
        return self.root / "cache"

    def generation(self, number: int) -> Generation:
        """The files of generation ``number``."""
        return Generation(self.generations / f"{number:06d}")

    def numbered(self) -> list[int]:
        """The numbers of the generations that there are folders of, ascending."""
        folders = self.generations.iterdir() if self.generations.is_dir() else ()
        return sorted(int(folder.name) for folder in folders if re.fullmatch("[0-9]{6,}", folder.name))

    @property
    def features_root(self) -> Path:
        """The folder of all encoders' stored features."""
        return self.root / "features"

    def features(self, spec: EncoderSpec) -> Path:
        """The folder of one encoder's stored features, shared by all generations."""
        return self.features_root / f"{spec.modality}-{spec.fingerprint}"

    @property
    def names(self) -> set[str]:
        """What may lie in an index folder where no generation is published yet."""
        known = (self.lock, self.writer, self.journal, self.generations, self.features_root)
        return {*(path.name for path in known), "manifest.json.new", "manifest.json.damaged"}
