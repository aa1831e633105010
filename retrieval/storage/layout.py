"""Layout of the index folder: paths of its files and folders."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from retrieval.encoders.base import EncoderSpec
from retrieval.types import ITEM, Target

MANIFEST = "manifest.json"


GENERATIONS_KEPT = 2
"""Generations kept: the published one, and the previous one for readers that have it open."""


@dataclass(frozen=True, slots=True)
class Generation:
    """Paths of the files of one generation; they never change after it is published."""

    folder: Path

    @property
    def manifest(self) -> Path:
        """Copy of the manifest published with this generation."""
        return self.folder / MANIFEST

    @property
    def catalog(self) -> Path:
        """SQLite database of items, assets and failures."""
        return self.folder / "catalog.sqlite"

    @property
    def alignment(self) -> Path:
        """Fitted maps into the aligned space."""
        return self.folder / "alignment.safetensors"

    @property
    def kept_twice(self) -> tuple[Path, ...]:
        """Files that have a second copy, because they cannot be derived from the rest of the folder."""
        return self.catalog, self.alignment

    def copy_of(self, path: Path) -> Path:
        """Return the path of the second copy of a file."""
        return self.folder / "copies" / path.name

    @property
    def fusion(self) -> Path:
        """Fitted fusion of an item's assets into one vector, if items have vectors."""
        return self.folder / f"{ITEM}.fusion.safetensors"

    def vectors(self, modality: Target) -> Path:
        """Return the file of the FAISS index of one modality, or of items."""
        return self.folder / f"{modality}.faiss"

    def assets(self, modality: Target) -> Path:
        """Return the file of (n, 2) int64: for each row of the FAISS index its asset, and its whole medium.

        For a row of an item, both are the asset that represents it.
        """
        return self.folder / f"{modality}.assets.npy"

    def centre(self, modality: Target) -> Path:
        """Return the file of (d,) float32: the mean of sampled vectors, used by ``retrieval.search.calibration``."""
        return self.folder / f"{modality}.centre.npy"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths in an index folder. Only this class and ``Generation`` build them."""

    root: Path

    @property
    def manifest(self) -> Path:
        """The manifest; replacing it in one rename publishes a generation."""
        return self.root / MANIFEST

    @property
    def lock(self) -> Path:
        """Lock file of the job that is writing."""
        return self.root / "lock"

    @property
    def writer(self) -> Path:
        """Information about the holder of the lock, for the error message of other jobs."""
        return self.root / "writer.json"

    @property
    def journal(self) -> Path:
        """Intermediate results of a job on its source files; deleted when it publishes."""
        return self.root / "journal"

    @property
    def generations(self) -> Path:
        """The folder of all generations."""
        return self.root / "generations"

    @property
    def cache(self) -> Path:
        """Thumbnails and other files cached by a server; may be deleted at any time."""
        return self.root / "cache"

    def generation(self, number: int) -> Generation:
        """Return the paths of generation ``number``."""
        return Generation(self.generations / f"{number:06d}")

    def generation_numbers(self) -> list[int]:
        """Return the numbers of the generations that have a folder, ascending."""
        folders = self.generations.iterdir() if self.generations.is_dir() else ()
        return sorted(int(folder.name) for folder in folders if re.fullmatch("[0-9]{6,}", folder.name))

    @property
    def features_root(self) -> Path:
        """The folder of stored features of all encoders."""
        return self.root / "features"

    def features(self, spec: EncoderSpec) -> Path:
        """Return the folder of stored features of one encoder, shared by all generations."""
        return self.features_root / f"{spec.modality}-{spec.fingerprint}"

    @property
    def names(self) -> set[str]:
        """Names that an index folder may contain before its first generation is published."""
        known = (self.lock, self.writer, self.journal, self.generations, self.features_root)
        return {*(path.name for path in known), "manifest.json.new", "manifest.json.damaged"}
