"""Writing an index folder: one writer at a time, beside what readers see, published by one rename."""

from __future__ import annotations

import errno
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
from indexer.settings import Settings
from retrieval import checksums
from retrieval.alignment.methods import registry as alignments
from retrieval.checksums import Checksum
from retrieval.encoders.base import EncoderSpec
from retrieval.errors import DamagedIndexError, FullDiskError, IndexBusyError, NotAnIndexError, SourceError
from retrieval.search.calibration import BACKGROUND
from retrieval.storage.catalog import Catalog
from retrieval.storage.feature_store import FeatureStore
from retrieval.storage.layout import KEPT, Generation, Layout
from retrieval.storage.manifest import SEALED, WITH_ITEMS, Manifest
from retrieval.types import Modality

FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), "database or disk is full")
"""How libraries say, whatever error they raise, that a disk or quota is full."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A generation in the making.

    Attributes:
        layout: the index folder's.
        before: the published manifest; None when there is none yet.
        files: the new generation's, in a folder that no reader looks into.
        catalog: its catalog, which starts as a copy of the one before.
        is_sound: whether the published generation is what was written, as far as it was looked at.
    """

    layout: Layout
    before: Manifest | None
    files: Generation
    catalog: Catalog
    is_sound: bool

    @property
    def settings_before(self) -> Settings | None:
        """What the published generation was made with."""
        return Settings.from_dict(self.before.settings) if self.before else None

    @property
    def is_stale(self) -> bool:
        """Whether the published generation is to be written anew even if its content would be the same."""
        if self.before is None or self.before.format < _format(self.before.items) or not self.is_sound:
            return True
        # A version wrote it that fitted the same otherwise, or did not yet measure backgrounds as they are now.
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
        """Make this generation the one that readers open."""
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
        oldest = number - KEPT + 1 if self.is_sound else number
        for old in self.layout.numbered():
            if not oldest <= old <= number:
                shutil.rmtree(self.layout.generation(old).folder, ignore_errors=True)
        return manifest

    def _keep_copies(self, manifest: Manifest) -> None:
        manifest.write(self.files.manifest)
        for path in self.files.kept_twice:
            copy = self.files.copy_of(path)
            copy.parent.mkdir(exist_ok=True)
            with path.open("rb") as read, copy.open("wb") as write:  # really twice: no link, no shared blocks
                shutil.copyfileobj(read, write, 1 << 20)

    def _checksums(self) -> dict[str, Checksum]:
        if self.before is None:
            return checksums.of_folder(self.files.folder, None, {})
        former = self.layout.generation(self.before.generation).folder
        return checksums.of_folder(self.files.folder, former, self.before.files)

    def _features(self, encoders: Mapping[Modality, EncoderSpec]) -> dict[str, dict[str, int]]:
        """The stores of these encoders, and those that are there of encoders that were used before."""
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
    """A draft of the next generation of the index folder ``root``, dropped at the end unless published.

    Raises:
        IndexBusyError: another job is writing there.
        NotAnIndexError: there is no index and ``must_exist``.
        DamagedIndexError: the manifest is not what was written, or ``must_exist`` and the catalog is not.
        SourceError: ``root`` holds other things than an index.
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
        is_sound = before is None or before.glance(root) is None
        if before:
            is_sound &= _copy_catalog(layout, before, files, must_exist=must_exist)
        catalog = Catalog(files.catalog, writable=True)
        try:
            yield Draft(layout, before, files, catalog, is_sound)
        finally:
            catalog.close()
            shutil.rmtree(files.folder, ignore_errors=True)


@contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """The right to write to the index folder.

    Raises:
        IndexBusyError: another job is writing there.
        FullDiskError: there is no room for what is written.
    """
    lock = FileLock(layout.lock)
    try:
        # The operating system gives the lock back when its process ends, however it ends.
        lock.acquire(blocking=False)
    except Timeout:
        busy = f"{_writer(layout)} is writing to {str(layout.root)!r}: wait for it to end, or end it"
        raise IndexBusyError(busy) from None
    try:
        who = {"pid": os.getpid(), "host": gethostname(), "since": _now()}
        layout.writer.write_text(json.dumps(who), encoding="utf-8")
        yield
    except Exception as error:
        if any(message in str(error) for message in FULL):
            raise FullDiskError(
                f"the disk of {str(layout.root)!r} is full: make room and run the same command again; readers "
                "see what was published before, and what was encoded is kept"
            ) from error
        raise
    finally:
        layout.writer.unlink(missing_ok=True)
        lock.release()


def _copy_catalog(layout: Layout, before: Manifest, files: Generation, *, must_exist: bool) -> bool:
    """Start with the published catalog; with an empty one if that is lost and sources can fill it again.

    Returns:
        Whether it is what was written.
    """
    generation = layout.generation(before.generation)
    published = generation.catalog
    checksum = before.files.get(published.name)
    for path in (published, generation.copy_of(published)):
        if checksum is None or checksum.check(path) is None:
            shutil.copyfile(path, files.catalog)
            return path == published
    if must_exist:
        raise DamagedIndexError(
            f"{published} and its copy are not what was written: 'xmodal index' with the sources makes it again"
        )
    return False


def _writer(layout: Layout) -> str:
    """Who holds the lock, as far as it has said so."""
    try:
        who = json.loads(layout.writer.read_text(encoding="utf-8"))
        return f"another job (process {who['pid']} on {who['host']}, since {who['since']})"
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
    """The oldest format that says all there is, with what there is of items."""
    return WITH_ITEMS if items else SEALED
