"""Writing an index folder: one writer at a time prepares a draft that readers do not see; one rename publishes it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from socket import gethostname
from typing import Any

from filelock import FileLock, Timeout

from indexer.publishing import fsync
from indexer.publishing.full_disk import is_full_disk
from indexer.settings import Settings
from retrieval import checksums
from retrieval.alignment.methods import registry as alignments
from retrieval.checksums import Checksum
from retrieval.encoders.base import EncoderSpec
from retrieval.errors import DamagedIndexError, FullDiskError, IndexBusyError, NotAnIndexError, SourceError
from retrieval.search.calibration import BACKGROUND
from retrieval.storage.catalog import Catalog
from retrieval.storage.feature_store import FeatureStore
from retrieval.storage.layout import GENERATIONS_KEPT, Generation, Layout
from retrieval.storage.manifest import SEALED, WITH_ITEMS, Manifest
from retrieval.types import Modality


@dataclass(frozen=True, slots=True)
class Draft:
    """A generation being prepared.

    Attributes:
        layout: paths of the index folder.
        before: the published manifest; None if nothing is published yet.
        files: paths of the new generation, in a folder that readers do not open.
        catalog: catalog of the new generation; starts as a copy of the published one.
        is_sound: whether the published files that were checked match their checksums.
    """

    layout: Layout
    before: Manifest | None
    files: Generation
    catalog: Catalog
    is_sound: bool

    @property
    def settings_before(self) -> Settings | None:
        """Settings of the published generation."""
        return Settings.from_dict(self.before.settings) if self.before else None

    @property
    def is_stale(self) -> bool:
        """Whether to write a new generation even if its content is the same."""
        if self.before is None or self.before.format < _format(self.before.items) or not self.is_sound:
            return True
        # An older version wrote it, which fitted this method differently or did not measure these backgrounds.
        method = alignments.METHODS.get(str(self.before.settings.get("align")))
        if method and self.before.alignment.get("revision", 1) != method.revision:
            return True
        return any(BACKGROUND not in entry for entry in self.before.indexes.values())

    def publish(
        self,
        *,
        encoders: Mapping[Modality, EncoderSpec],
        numerics: Mapping[Modality, Sequence[str]],
        alignment: Mapping[str, Any],
        indexes: Mapping[Modality, Mapping[str, Any]],
        items: Mapping[str, Any],
        settings: Settings,
        sources: list[str],
    ) -> Manifest:
        """Publish this generation: readers open it from now on."""
        counts = self.catalog.counts()
        self.catalog.close()
        number = self.before.generation + 1 if self.before else 1
        final = self.layout.generation(number).folder
        if final.exists():  # left by a job that was killed between the two renames
            shutil.rmtree(final)
        fsync.sync_all(self.layout.features_root)
        manifest = Manifest(
            generation=number,
            created=_now(),
            version=version("xmodal"),
            encoders=encoders,
            numerics=numerics,
            alignment=alignment,
            indexes=indexes,
            items=items,
            counts=counts,
            settings=settings.as_dict(),
            sources=sources,
            files=self._checksums(),
            features=self._features(encoders),
            format=_format(items),
        )
        self._keep_copies(manifest)
        fsync.sync_all(self.files.folder)
        self.files.folder.replace(final)
        fsync.sync(self.layout.generations)
        manifest.write(self.layout.manifest)
        fsync.sync(self.layout.root)
        oldest = number - GENERATIONS_KEPT + 1 if self.is_sound else number
        for old in self.layout.generation_numbers():
            if not oldest <= old <= number:
                shutil.rmtree(self.layout.generation(old).folder, ignore_errors=True)
        return manifest

    def _keep_copies(self, manifest: Manifest) -> None:
        manifest.write(self.files.manifest)
        for path in self.files.kept_twice:
            copy = self.files.copy_of(path)
            copy.parent.mkdir(exist_ok=True)
            # A real second copy: no link, no shared blocks.
            with path.open("rb") as read, copy.open("wb") as write:
                shutil.copyfileobj(read, write, 1 << 20)

    def _checksums(self) -> dict[str, Checksum]:
        if self.before is None:
            return checksums.of_folder(self.files.folder, None, {})
        published = self.layout.generation(self.before.generation).folder
        return checksums.of_folder(self.files.folder, published, self.before.files)

    def _features(self, encoders: Mapping[Modality, EncoderSpec]) -> dict[str, dict[str, int]]:
        """Describe the feature stores of these encoders, and those that remain from earlier encoders."""
        dimensions = (
            {name: entry["dimension"] for name, entry in self.before.features.items()} if self.before else {}
        )
        dimensions |= {self.layout.features(spec).name: spec.dimension for spec in encoders.values()}
        folders = {name: self.layout.features_root / name for name in sorted(dimensions)}
        return {
            name: {"dimension": dimensions[name], "rows": len(FeatureStore(folder, dimensions[name]))}
            for name, folder in folders.items()
            if folder.is_dir()
        }


@contextmanager
def writing(root: Path, *, must_exist: bool = False) -> Iterator[Draft]:
    """Provide a draft of the next generation of the index folder ``root``; it is deleted unless published.

    Raises:
        IndexBusyError: another job is writing to the folder.
        NotAnIndexError: there is no index, and ``must_exist`` is True.
        DamagedIndexError: the manifest is damaged, or the catalog and its copy are and ``must_exist`` is True.
        SourceError: ``root`` holds files that are not part of an index.
    """
    layout = Layout(root)
    if not layout.manifest.is_file():
        if must_exist:
            Manifest.read(root)
        _check_free(root)
    root.mkdir(parents=True, exist_ok=True)
    with locked(layout):
        before = Manifest.load(layout.manifest) if layout.manifest.is_file() else None
        files = Generation(layout.generations / "draft")
        shutil.rmtree(files.folder, ignore_errors=True)
        files.folder.mkdir(parents=True)
        is_sound = before is None or before.check_files_quickly(root) is None
        if before:
            is_sound &= _copy_catalog(layout, before, files, must_exist=must_exist)
        catalog = Catalog(files.catalog, writable=True)
        try:
            yield Draft(layout=layout, before=before, files=files, catalog=catalog, is_sound=is_sound)
        finally:
            catalog.close()
            shutil.rmtree(files.folder, ignore_errors=True)


@contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """Hold the write lock of the index folder.

    Raises:
        IndexBusyError: another job is writing to the folder.
        FullDiskError: the disk or the quota is full.
    """
    lock = FileLock(layout.lock)
    try:
        # The operating system releases the lock when the process ends, for whatever reason.
        lock.acquire(blocking=False)
    except Timeout:
        busy = f"{_writer(layout)} is writing to {str(layout.root)!r}: wait for it to end, or end it"
        raise IndexBusyError(busy) from None
    try:
        writer = {"pid": os.getpid(), "host": gethostname(), "since": _now()}
        layout.writer.write_text(json.dumps(writer), encoding="utf-8")
        yield
    except Exception as error:
        if is_full_disk(error):
            raise FullDiskError(
                f"the disk of {str(layout.root)!r} is full: make room and run the same command again; readers "
                "still see the published generation, and features encoded so far are kept"
            ) from error
        raise
    finally:
        layout.writer.unlink(missing_ok=True)
        lock.release()


def _copy_catalog(layout: Layout, before: Manifest, files: Generation, *, must_exist: bool) -> bool:
    """Copy the published catalog into the draft, or its copy if it is damaged.

    If both are damaged, the draft starts with an empty catalog, which the sources fill again.

    Returns:
        Whether the published catalog itself is undamaged.

    Raises:
        DamagedIndexError: both are damaged, and ``must_exist`` is True.
    """
    generation = layout.generation(before.generation)
    published = generation.catalog
    checksum = before.files.get(published.name)
    for path in (published, generation.copy_of(published)):
        if checksum is None or checksum.check_fully(path) is None:
            shutil.copyfile(path, files.catalog)
            return path == published
    if must_exist:
        raise DamagedIndexError(
            f"{published} and its copy do not match their checksum: run 'xmodal index' with the sources to rebuild it"
        )
    return False


def _writer(layout: Layout) -> str:
    """Describe the job that holds the lock, by its ``writer.json`` if that is readable."""
    try:
        writer = json.loads(layout.writer.read_text(encoding="utf-8"))
        return f"another job (process {writer['pid']} on {writer['host']}, since {writer['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another job"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _check_free(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise NotAnIndexError(f"{str(root)!r} is a file: expected a folder for the index")
    if root.is_dir() and (others := sorted({path.name for path in root.iterdir()} - Layout(root).names)):
        raise SourceError(
            f"{str(root)!r} holds other files ({', '.join(others[:3])}): "
            "expected an index, or an empty or new folder"
        )


def _format(items: Mapping[str, Any]) -> int:
    """Return the oldest index format that can hold this index, with its vectors of items if any."""
    return WITH_ITEMS if items else SEALED
