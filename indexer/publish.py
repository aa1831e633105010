"""Writing an index folder: one writer at a time, beside what readers see, published by one rename."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from indexer.settings import Settings
from retrieval.catalog import Catalog
from retrieval.encoders.base import EncoderSpec
from retrieval.errors import IndexBusyError, NotAnIndexError, SourceError
from retrieval.manifest import Generation, Layout, Manifest
from retrieval.types import Modality

KEPT = 2
"""Generations that stay: the published one, and the one before for readers that opened it."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A generation in the making.

    Attributes:
        layout: the index folder's.
        before: the published manifest; None when there is none yet.
        files: the new generation's, in a folder that no reader looks into.
        catalog: its catalog, which starts as a copy of the one before.
    """

    layout: Layout
    before: Manifest | None
    files: Generation
    catalog: Catalog

    @property
    def settings_before(self) -> Settings | None:
        """What the published generation was made with."""
        return Settings.from_dict(self.before.settings) if self.before else None

    def publish(
        self,
        *,
        encoders: Mapping[Modality, EncoderSpec],
        numerics: Mapping[Modality, Sequence[str]],
        alignment: Mapping[str, Any],
        indexes: Mapping[Modality, Mapping[str, Any]],
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
        self.files.folder.replace(final)
        manifest = Manifest(
            generation=number,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            version=version("xmodal"),
            encoders=encoders,
            numerics=numerics,
            alignment=alignment,
            indexes=indexes,
            counts=counts,
            settings=settings.as_dict(),
            sources=sources,
        )
        manifest.write(self.layout.manifest)
        for old in sorted(self.layout.generations.iterdir()):
            if old.name.isdigit() and int(old.name) <= number - KEPT:
                shutil.rmtree(old, ignore_errors=True)
        return manifest


@contextmanager
def writing(root: Path, *, must_exist: bool = False) -> Iterator[Draft]:
    """A draft of the next generation of the index folder ``root``, dropped at the end unless published.

    Raises:
        IndexBusyError: another job is writing there.
        NotAnIndexError: there is no index and ``must_exist``.
        SourceError: ``root`` holds other things than an index.
    """
    layout = Layout(root)
    before = Manifest.read(root) if layout.manifest.is_file() or must_exist else None
    if before is None:
        _check_free(root)
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(layout.lock)
    try:
        # The operating system gives the lock back when its process ends, however it ends.
        lock.acquire(blocking=False)
    except Timeout:
        raise IndexBusyError(f"another job is writing to {str(root)!r}: wait for it to end") from None
    try:
        before = Manifest.read(root) if layout.manifest.is_file() else None
        files = Generation(layout.generations / "draft")
        shutil.rmtree(files.folder, ignore_errors=True)
        files.folder.mkdir(parents=True)
        if before:
            shutil.copyfile(layout.generation(before.generation).catalog, files.catalog)
        catalog = Catalog(files.catalog, writable=True)
        try:
            yield Draft(layout, before, files, catalog)
        finally:
            catalog.close()
            shutil.rmtree(files.folder, ignore_errors=True)
    finally:
        lock.release()


def _check_free(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise NotAnIndexError(f"{str(root)!r} is a file: expected a folder for the index")
    known = {"lock", "features", "generations", "manifest.json.new"}
    if root.is_dir() and (others := sorted({path.name for path in root.iterdir()} - known)):
        raise SourceError(
            f"{str(root)!r} holds other files ({', '.join(others[:3])}): "
            "expected an index, or an empty or new folder"
        )
