"""Preview of a job, without encoding or writing anything."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from indexer.changes import mass_removal, plan
from indexer.changes.corpus_hashes import FileContents, known_files, read_contents, unmoved
from indexer.changes.journal import Journal
from indexer.progress import Progress, silent
from indexer.settings import BuildOptions, Settings, defaults
from indexer.sources import corpus as corpora
from indexer.sources.adapters import registry as adapters
from indexer.sources.corpus import Corpus
from retrieval.errors import MassRemovalError
from retrieval.storage.catalog import Catalog
from retrieval.storage.feature_store import FeatureStore
from retrieval.storage.layout import Layout
from retrieval.storage.manifest import Manifest
from retrieval.storage.schema import Asset, Item
from retrieval.types import Modality

Place = tuple[str, str, str | None]
"""Key of an asset: modality, item, and for a caption its content hash."""


@dataclass(slots=True)
class DryRun:
    """Changes that a job would make. Assets are named by path, captions of a manifest by their item's id.

    Attributes:
        items: number of items after the job, if nothing fails.
        new: assets that the index does not have.
        changed: files whose content has changed.
        renamed: old and new name of each moved asset.
        removed: assets that are no longer in the sources.
        unchanged: number of assets that stay the same.
        encode: number of contents to encode, by modality.
        failed: path and reason of files that cannot be read now, or could not be decoded before.
        skipped: number of files without an encoder, by modality.
        refused: why the job would be refused; None if it would run.
    """

    items: int = 0
    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    renamed: list[tuple[str, str]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: int = 0
    encode: dict[str, int] = field(default_factory=dict)
    failed: list[dict[str, str]] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    refused: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as ``xmodal index --dry-run --json`` prints them."""
        return {name: getattr(self, name) for name in self.__slots__}


def dry_run(
    sources: Sequence[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str],
    preset: str | None = None,
    encoders: Mapping[str, str] | None = None,
    workers: int | None = None,
    retry_failed: bool = False,
    allow_mass_removal: bool = False,
    progress: Progress = silent,
) -> DryRun:
    """Return what ``build`` would do with these arguments. Files are read; nothing is decoded or written.

    Raises:
        SourceError: a source is missing or malformed, or there is nothing to index.
        OptionError: an option has an unusable value.
        XmodalError: the existing index cannot be read.
    """
    options = BuildOptions(preset=preset, encoders=encoders)
    options.settings(None)
    layout = Layout(Path(out))
    corpus = corpora.read(sources, leave_out=layout.root)
    manifest = Manifest.read(layout.root) if layout.manifest.is_file() else None
    settings = options.settings(Settings.from_dict(manifest.settings) if manifest else defaults(corpus))
    skipped = corpus.leave_out(settings.encoders)
    roots = [adapters.absolute(source) for source in sources]
    before = manifest.sources if manifest else []
    catalog = Catalog(layout.generation(manifest.generation).catalog) if manifest else None
    known = known_files(catalog, unmoved(before, roots)) if catalog else {}
    reading = read_contents(
        [part for _, part in corpus.assets()],
        known | Journal(layout.journal, roots).seen(),
        retry_failed=retry_failed,
        workers=workers or min(os.cpu_count() or 1, 8),
        progress=progress,
        note=lambda part, content: None,  # noqa: ARG005 - nothing is written
    )
    result = DryRun(
        len(corpus.items), skipped=skipped, encode=_encode(corpus, reading, settings, manifest, layout)
    )
    result.failed = [
        {"path": row.path, "reason": row.reason}
        for row in [*corpus.problems, *reading.failed.values(), *reading.unreadable]
    ]
    _compare(result, _assets(catalog) if catalog else {}, corpus, reading)
    if catalog:
        try:
            if not allow_mass_removal:
                mass_removal.check_mass_removal(
                    catalog,
                    corpus=corpus,
                    reading=reading,
                    before=before,
                    sources=roots,
                    modalities=settings.encoders,
                )
        except MassRemovalError as error:
            result.refused = str(error)
        catalog.close()
    return result


def _encode(
    corpus: Corpus, reading: FileContents, settings: Settings, manifest: Manifest | None, layout: Layout
) -> dict[str, int]:
    """Count the contents, by modality, that have no features yet from the requested encoder."""
    stored: dict[Modality, dict[str, range]] = {modality: {} for modality in settings.encoders}
    for modality, name in settings.encoders.items():
        spec = manifest.encoders.get(modality) if manifest else None
        if (
            spec is not None
            and manifest
            and Settings.from_dict(manifest.settings).encoders.get(modality) == name
        ):
            stored[modality] = FeatureStore(layout.features(spec), spec.dimension).contents()
    missing = plan.encodings(reading.named(part for _, part in corpus.assets()), stored)
    return {str(modality): len(contents) for modality, contents in missing.items()}


def _assets(catalog: Catalog) -> dict[Place, tuple[str, str]]:
    """Return the content hash and the name of each asset in the catalog."""
    statement = select(Item.key, Asset.modality, Asset.path, Asset.content).join(
        Item, Asset.item_id == Item.id
    )
    with catalog.session() as session:
        rows = session.execute(statement.where(Asset.start.is_(None))).all()
    return {_place(key, modality, content): (content, path or key) for key, modality, path, content in rows}


def _place(key: str, modality: str, content: str) -> Place:
    return modality, key, content if modality == Modality.TEXT else None


def _compare(
    result: DryRun, catalogued: Mapping[Place, tuple[str, str]], corpus: Corpus, reading: FileContents
) -> None:
    gone = dict(catalogued)
    new: list[tuple[str, str]] = []
    for item, part in corpus.assets():
        content = reading.content(part)
        if content is None:
            continue
        name = part.path or item.key
        before = gone.pop(_place(item.key, str(part.modality), content), None)
        if before is None:
            new.append((content, name))
        elif before[0] == content:
            result.unchanged += 1
        else:
            result.changed.append(name)
    moved: dict[str, list[str]] = {}
    for content, name in gone.values():
        moved.setdefault(content, []).append(name)
    for content, name in new:
        if moved.get(content):
            result.renamed.append((moved[content].pop(), name))
        else:
            result.new.append(name)
    result.removed = [name for names in moved.values() for name in names]
