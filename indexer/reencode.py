"""Encoding again, in their places, the features that were damaged; and nothing else."""

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


class _Mended(FeatureStore):
    """A store that takes what is appended to where the catalog says it stood.

    So the catalog and the vectors, which know rows by number, stay as they are.
    """

    def __init__(self, folder: Path, dimension: int, places: Mapping[str, range]) -> None:
        super().__init__(folder, dimension)
        self.places = places
        self.mended: set[str] = set()

    def append(self, contents: Sequence[str], spans: Sequence[Sequence[Span]], rows: Matrix) -> None:
        """Write each content's features to its own rows, if they are as many as they were."""
        taken = 0
        for content, parts in zip(contents, spans, strict=True):
            own = rows[taken : taken + len(parts)]
            taken += len(parts)
            if len(parts) == len(self.places[content]):
                self.replace([self.places[content]], [content], [parts], own)
                self.mended.add(content)


def mend(
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
    """Encode what these feature rows were of, from captions in the catalog or unchanged files of the sources.

    What cannot be encoded is given up, so that the next ``xmodal index`` does not take it for stored.

    Returns:
        How many contents were encoded.

    Raises:
        EncoderMismatchError: the encoder at hand is not the one the index was built with.
    """
    spec = manifest.encoders[modality]
    catalog = Catalog(layout.generation(manifest.generation).catalog)
    try:
        assets = catalog.stored(modality)
    finally:
        catalog.close()
    damaged = set(rows)
    wanted = {asset.content for asset in assets if asset.feature in damaged}
    places = _places(asset for asset in assets if asset.content in wanted)
    store = _Mended(layout.features(spec), spec.dimension, places)
    others = {row for content, held in store.contents().items() if content not in places for row in held}
    found = {
        content: part
        for content, part in _parts(
            (asset for asset in assets if asset.content in wanted), modality, manifest, layout
        )
        if others.isdisjoint(places[content])
    }
    if found:
        # By the name it was asked for by: an encoder's own does not say where a file of weights is.
        encoder = registry.load(manifest.settings["encoders"][modality], modality, device, runtime)
        check_same_encoder(spec, encoder.spec)
        store.add_numerics(encoder.numerics)
        with progress(f"encoding {modality}", len(found)) as advance:
            encode.encode(
                encoder,
                found,
                store,
                workers=workers,
                batch_size=batch_size,
                trusted=False,
                advance=advance,
                fail=lambda _content, _error: None,  # what cannot be encoded is among the lost
            )
    lost = [row for content in wanted - store.mended for row in places[content] if row not in others]
    store.mark_unused(lost)
    return len(store.mended)


def _places(assets: Iterable[StoredAsset]) -> dict[str, range]:
    """The rows of each content: one for the whole, and behind it one a segment."""
    places: dict[str, range] = {}
    for asset in assets:
        known = places.get(asset.content, range(asset.feature, asset.feature))
        places[asset.content] = range(min(known.start, asset.feature), max(known.stop, asset.feature + 1))
    return places


def _parts(
    assets: Iterable[StoredAsset], modality: Modality, manifest: Manifest, layout: Layout
) -> Iterator[tuple[str, Part]]:
    """Contents that can be had still, each with what has it."""
    elsewhere: dict[int, dict[str | None, set[str]]] = {}
    for asset in assets:
        if asset.text is not None and content_hash.content_of_text(asset.text) == asset.content:
            yield asset.content, Part(modality, asset.source or 0, asset.path, text=asset.text)
        elif asset.source is not None and asset.source < len(manifest.sources):
            elsewhere.setdefault(asset.source, {}).setdefault(asset.path, set()).add(asset.content)
    for source, paths in elsewhere.items():
        try:
            corpus = corpora.read([manifest.sources[source]], leave_out=layout.root)
        except SourceError:  # it is not there: its features stay lost, and are named
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
