"""Encode damaged features again, into the same rows, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from indexer.changes import content_hash
from indexer.encoding import encode
from indexer.progress import Progress
from indexer.sources import corpus as corpora
from indexer.sources.corpus import Part
from retrieval.encoders import registry
from retrieval.encoders.base import Span, check_same_encoder
from retrieval.errors import MediaError, SourceError
from retrieval.storage.catalog import Catalog, StoredAsset
from retrieval.storage.feature_store import FeatureStore
from retrieval.storage.layout import Layout
from retrieval.storage.manifest import Manifest
from retrieval.types import Matrix, Modality


class _InPlaceStore(FeatureStore):
    """Feature store that writes each appended content to the rows that the catalog has for it.

    The catalog and the vector indexes refer to rows by number, so they stay valid.
    """

    def __init__(self, folder: Path, dimension: int, rows_of: Mapping[str, range]) -> None:
        super().__init__(folder, dimension)
        self.rows_of = rows_of
        self.reencoded: set[str] = set()

    def append(self, contents: Sequence[str], spans: Sequence[Sequence[Span]], rows: Matrix) -> None:
        """Write each content's features to its old rows, if their number is the same."""
        start = 0
        for content, parts in zip(contents, spans, strict=True):
            new_rows = rows[start : start + len(parts)]
            start += len(parts)
            if len(parts) == len(self.rows_of[content]):
                self.replace([self.rows_of[content]], [content], [parts], new_rows)
                self.reencoded.add(content)


def reencode(
    layout: Layout,
    manifest: Manifest,
    modality: Modality,
    rows: Iterable[int],
    *,
    device: str,
    runtime: str,
    batch_size: int,
    workers: int,
    progress: Progress,
) -> int:
    """Encode the contents of these feature rows again, from catalog captions or unchanged source files.

    Rows that cannot be encoded are marked unused, so that the next ``xmodal index`` encodes their contents.

    Returns:
        Number of contents that were encoded.

    Raises:
        EncoderMismatchError: the installed encoder is not the one that the index was built with.
    """
    spec = manifest.encoders[modality]
    catalog = Catalog(layout.generation(manifest.generation).catalog)
    try:
        assets = catalog.stored(modality)
    finally:
        catalog.close()
    damaged = set(rows)
    damaged_contents = {asset.content for asset in assets if asset.feature in damaged}
    rows_of = _rows_of(asset for asset in assets if asset.content in damaged_contents)
    store = _InPlaceStore(layout.features(spec), spec.dimension, rows_of)
    other_rows = {
        row for content, stored in store.contents().items() if content not in rows_of for row in stored
    }
    available = {
        content: part
        for content, part in _parts(
            (asset for asset in assets if asset.content in damaged_contents), modality, manifest, layout
        )
        if other_rows.isdisjoint(rows_of[content])
    }
    if available:
        # Load by the name in the settings: the encoder's own name does not include the path of a weights file.
        encoder = registry.load(manifest.settings["encoders"][modality], modality, device, runtime)
        check_same_encoder(spec, encoder.spec)
        store.add_numerics(encoder.numerics)
        with progress(f"encoding {modality}", len(available)) as advance:
            encode.encode(
                encoder,
                available,
                store,
                workers=workers,
                batch_size=batch_size,
                trusted=False,
                advance=advance,
                fail=lambda _content, _error: None,  # what cannot be encoded is in `lost`
            )
    lost = [
        row
        for content in damaged_contents - store.reencoded
        for row in rows_of[content]
        if row not in other_rows
    ]
    store.mark_unused(lost)
    return len(store.reencoded)


def _rows_of(assets: Iterable[StoredAsset]) -> dict[str, range]:
    """Return the rows of each content: one for the whole, followed by one per segment."""
    rows_of: dict[str, range] = {}
    for asset in assets:
        known = rows_of.get(asset.content, range(asset.feature, asset.feature))
        rows_of[asset.content] = range(min(known.start, asset.feature), max(known.stop, asset.feature + 1))
    return rows_of


def _parts(
    assets: Iterable[StoredAsset], modality: Modality, manifest: Manifest, layout: Layout
) -> Iterator[tuple[str, Part]]:
    """Yield the contents that are still available, each with a part that has it."""
    in_files: dict[int, dict[str | None, set[str]]] = {}
    for asset in assets:
        if asset.text is not None and content_hash.content_of_text(asset.text) == asset.content:
            yield asset.content, Part(modality, asset.source or 0, asset.path, text=asset.text)
        elif asset.source is not None and asset.source < len(manifest.sources):
            in_files.setdefault(asset.source, {}).setdefault(asset.path, set()).add(asset.content)
    for source, paths in in_files.items():
        try:
            corpus = corpora.read([manifest.sources[source]], leave_out=layout.root)
        except SourceError:  # a missing source: its features stay lost, and the repair reports them
            continue
        for _, part in corpus.assets():
            if part.modality is not modality or part.path not in paths:
                continue
            try:
                content = content_hash.content(part)
            except MediaError:
                continue
            if content in paths[part.path]:
                yield content, part
