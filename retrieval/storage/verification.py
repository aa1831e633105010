"""Verification: every byte of an index is read and compared with its checksums."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from retrieval.checksums import MISMATCH, Checksum
from retrieval.errors import DamagedIndexError, IndexFormatError
from retrieval.storage.catalog import Catalog, StoredAsset
from retrieval.storage.damage import Damage, Remedy, Verdict
from retrieval.storage.feature_store import FeatureStore
from retrieval.storage.layout import GENERATIONS_KEPT, Generation, Layout
from retrieval.storage.manifest import Manifest
from retrieval.types import Integers, Modality

TEMPORARY = {"lock", "writer.json", "journal", "manifest.json.new", "manifest.json.damaged"}
"""Files that a job leaves in an index folder and that nothing depends on."""


def verify(folder: str | os.PathLike[str]) -> Verdict:
    """Check every file of the index in ``folder`` against its checksum.

    Raises:
        NotAnIndexError: the folder is not an index.
        IndexFormatError: a newer version wrote it, or an older one that wrote no checksums.
    """
    layout = Layout(Path(folder))
    manifest = _newest_manifest(layout)
    if manifest and manifest.format == 1:
        raise IndexFormatError(
            f"{str(layout.root)!r} was written before there were checksums (format 1): run 'xmodal index' on it "
            "again, which writes them and encodes nothing again"
        )
    inspection = _Inspection(layout, Verdict(manifest))
    inspection.manifest(layout.manifest, "opening the index at all")
    if manifest:
        inspection.published(manifest)
        inspection.previous(manifest)
        inspection.features(manifest)
    return inspection.verdict()


def _newest_manifest(layout: Layout) -> Manifest | None:
    """Return the published manifest, or else its newest intact copy; None if no copy is intact.

    Raises:
        NotAnIndexError: there are no manifests.
    """
    copies = [layout.generation(number).manifest for number in reversed(layout.generation_numbers())]
    paths = [path for path in (layout.manifest, *copies) if path.is_file()]
    if not paths:
        return Manifest.read(layout.root)
    for path in paths:
        try:
            return Manifest.load(path)
        except DamagedIndexError:
            continue
    return None


class _Inspection:
    """State of a verification: the files checked so far, and the damage found."""

    def __init__(self, layout: Layout, verdict: Verdict) -> None:
        self._layout = layout
        self._verdict = verdict
        self._seen: set[Path] = set()

    def verdict(self) -> Verdict:
        """Complete the verdict by counting files and listing strays."""
        self._verdict.files = len(self._seen)
        known = self._seen | {self._layout.root / name for name in TEMPORARY}
        paths = (
            path
            for path in self._layout.root.rglob("*")
            if path not in known and not path.is_dir() and not path.is_relative_to(self._layout.cache)
        )
        self._verdict.strays = sorted(map(self._name, paths))
        return self._verdict

    def manifest(self, path: Path, hurts: str) -> None:
        """Check the manifest, or its copy in the published generation."""
        self._seen.add(path)
        intact = self._verdict.manifest
        try:
            if Manifest.load(path) == intact:
                return
            problem = "differs from the published manifest"
        except DamagedIndexError:
            problem = MISMATCH if path.is_file() else "is missing"
        self._add(path, problem, hurts, Remedy.RESTORE if intact else Remedy.INDEX)

    def published(self, manifest: Manifest) -> None:
        """Check the files of the published generation."""
        files = self._layout.generation(manifest.generation)
        self.manifest(files.manifest, "nothing yet: manifest.json is restored from it")
        problems = dict(self._problems(files.folder, manifest.files))
        copies = {path: files.copy_of(path) for path in files.kept_twice if path.name in manifest.files}
        known = {f"copies/{path.name}": manifest.files[path.name] for path in copies}
        problems_of_copies = dict(self._problems(files.folder, known))
        originals = {copy: path for path, copy in copies.items()}
        for path, problem in (problems | problems_of_copies).items():
            other = copies.get(path) or originals.get(path)
            has_intact_copy = other is not None and other not in problems | problems_of_copies
            hurts, remedy, modalities = _published(originals.get(path, path), files, manifest)
            if path in originals and has_intact_copy:
                hurts = f"nothing yet: {path.name} is restored from it"
            self._add(path, problem, hurts, Remedy.RESTORE if has_intact_copy else remedy, modalities)

    def previous(self, manifest: Manifest) -> None:
        """Check the previous generations that are kept for readers that have them open."""
        hurts = "only readers that opened the index before this generation was replaced"
        for number in self._layout.generation_numbers():
            files = self._layout.generation(number)
            if (
                not manifest.generation - GENERATIONS_KEPT < number < manifest.generation
                or not files.manifest.is_file()
            ):
                continue
            self._seen.add(files.manifest)
            try:
                known = Manifest.load(files.manifest).files
            except DamagedIndexError:
                self._seen.update(path for path in files.folder.rglob("*") if path.is_file())
                self._add(files.manifest, MISMATCH, hurts, Remedy.DROP)
                continue
            copies = {
                f"copies/{path.name}": known[path.name] for path in files.kept_twice if path.name in known
            }
            for path, problem in self._problems(files.folder, known | copies):
                self._add(path, problem, hurts, Remedy.DROP)

    def features(self, manifest: Manifest) -> None:
        """Check the stored features row by row, and whether their contents are those in the catalog."""
        files = self._layout.generation(manifest.generation)
        damaged = {damage.path for damage in self._verdict.damages}
        catalogs = (files.catalog, files.copy_of(files.catalog))
        catalog = next((path for path in catalogs if self._name(path) not in damaged), None)
        modalities = {
            self._layout.features(spec).name: modality for modality, spec in manifest.encoders.items()
        }
        for name, entry in manifest.features.items():
            store = FeatureStore(self._layout.features_root / name, entry["dimension"])
            self._seen.update(store.files)
            self._verdict.rows += max(len(store), entry["rows"])
            rows, modality = store.damaged(entry["rows"]), modalities.get(name)
            if modality and catalog:
                rows = self._needed_rows(store, rows, modality, _stored(catalog, modality))
                hurts = "nothing: no item uses them"
            elif modality:
                hurts = "a new alignment; the items are not known without the catalog"
            else:
                hurts = "nothing: no encoder of this index made them"
            if len(rows):
                self._add_rows(store, rows, hurts, Remedy.DROP, modality)

    def _needed_rows(
        self, store: FeatureStore, rows: Integers, modality: Modality, assets: list[StoredAsset]
    ) -> Integers:
        """Report the damaged rows that items use, and return the others."""
        features = np.fromiter((asset.feature for asset in assets), np.int64, len(assets))
        is_damaged = np.isin(features, rows) | ~store.holds(features, [asset.content for asset in assets])
        needed = np.unique(features[is_damaged])
        if len(needed):
            items = tuple(sorted({assets[at].item for at in np.flatnonzero(is_damaged)}))
            first = ", ".join(map(repr, items[:3])) + (", ..." if len(items) > 3 else "")
            hurts = f"a new alignment, which needs the {modality} features of {first} ({len(items):,} items)"
            self._add_rows(store, needed, hurts, Remedy.ENCODE, modality, items)
        return np.setdiff1d(rows, needed)

    def _add_rows(
        self,
        store: FeatureStore,
        rows: Integers,
        hurts: str,
        remedy: Remedy,
        modality: Modality | None,
        items: tuple[str, ...] = (),
    ) -> None:
        which = f"row {rows[0]} is" if len(rows) == 1 else f"{len(rows):,} rows from row {rows[0]} on are"
        problem = f"{which} missing or damaged"
        modalities = (str(modality),) if modality else ()
        folder, numbers = store.files[0].parent, tuple(rows.tolist())
        self._add(folder, problem, hurts, remedy, modalities=modalities, items=items, rows=numbers)

    def _problems(self, folder: Path, files: dict[str, Checksum]) -> Iterable[tuple[Path, str]]:
        """Return the problems of a generation's files, which several threads read."""
        paths = [folder / name for name in files]
        self._seen.update(paths)
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            problems = list(pool.map(Checksum.check_fully, files.values(), paths))
        return [(path, problem) for path, problem in zip(paths, problems, strict=True) if problem]

    def _add(
        self,
        path: Path,
        problem: str,
        hurts: str,
        remedy: Remedy,
        modalities: tuple[str, ...] = (),
        items: tuple[str, ...] = (),
        rows: tuple[int, ...] = (),
    ) -> None:
        self._verdict.damages.append(
            Damage(self._name(path), problem, hurts, remedy, modalities, items, rows)
        )

    def _name(self, path: Path) -> str:
        return path.relative_to(self._layout.root).as_posix()


def _published(path: Path, files: Generation, manifest: Manifest) -> tuple[str, Remedy, tuple[str, ...]]:
    """Return the consequences and the remedy of a damaged file of the published generation, and its modalities."""
    everything = tuple(map(str, manifest.targets))
    modality = path.name.partition(".")[0]  # the files of a modality begin with its name
    if path == files.catalog:
        return "ids, paths, captions and metadata of all items", Remedy.INDEX, everything
    if path == files.alignment:
        return "every query", Remedy.REBUILD, everything
    if modality in everything:
        return f"searches for {modality}", Remedy.REBUILD, (modality,)
    return "all searches", Remedy.REBUILD, everything


def _stored(catalog: Path, modality: Modality) -> list[StoredAsset]:
    opened = Catalog(catalog)
    try:
        return opened.stored(modality)
    finally:
        opened.close()
