"""The job: sources in, a new published generation of the index out."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indexer import corpus as corpora
from indexer import holdout as holdouts
from indexer.adapters import registry as adapters
from indexer.corpus import Corpus
from indexer.encoding import Encoded, Encoding, seen
from indexer.fit import fit
from indexer.holdout import Holdout
from indexer.progress import Progress, silent
from indexer.publish import Draft, writing
from indexer.settings import Settings, Wishes, defaults
from retrieval import catalog_writer
from retrieval import device as devices
from retrieval.catalog_writer import AssetRow, ItemRow
from retrieval.encoders import registry
from retrieval.encoders.base import Encoder
from retrieval.errors import OptionError, SourceError
from retrieval.features import FeatureStore
from retrieval.manifest import Manifest
from retrieval.runtimes import registry as runtimes
from retrieval.space import check_same
from retrieval.types import Modality

SHOWN_FAILURES = 100


@dataclass(slots=True)
class Summary:
    """What a job did.

    Attributes:
        items: in the index now.
        assets: in the index now, a modality.
        encoded: contents that were encoded.
        reused: assets whose content had been encoded already.
        removed: assets that are no longer in the sources.
        failed: what could not be indexed.
        failures: the first hundred of those, path and reason; all of them are in the catalog.
        skipped: files of modalities that the index has no encoder for.
        generation: the published one.
        alignment: the method in use.
        seconds: the job took.
    """

    items: int = 0
    assets: dict[str, int] = field(default_factory=dict)
    encoded: int = 0
    reused: int = 0
    removed: int = 0
    failed: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    generation: int = 0
    alignment: str = ""
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as ``xmodal index --json`` prints them."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {**values, "seconds": round(self.seconds, 3), "assets_per_second": round(self.rate, 1)}

    @property
    def rate(self) -> float:
        """Assets a second."""
        return sum(self.assets.values()) / self.seconds if self.seconds else 0.0


def build(
    sources: Sequence[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str],
    preset: str | None = None,
    encoders: Mapping[str, str] | None = None,
    align: str | None = None,
    holdout: Holdout = None,
    seed: int | None = None,
    index: str | None = None,
    device: str = "auto",
    runtime: str = "auto",
    batch_size: int = 32,
    workers: int | None = None,
    retry_failed: bool = False,
    progress: Progress = silent,
) -> Summary:
    """Index ``sources`` into the folder ``out``, or bring the index there up to date with them.

    Only what is new or changed is encoded, what is gone is removed. A file that fails is recorded and stops
    nothing. Readers see the former generation until the new one is published, in one rename.

    Args:
        sources: folders, manifests, and data sets as ``FORMAT:PATH``.
        out: the index folder; made if it is missing.
        preset: a set of encoders, of ``retrieval.encoders.registry.PRESETS``. This and the next five are,
            when None, what the index was built with, or the defaults.
        encoders: by modality, encoders that differ from the preset's; ``"none"`` leaves a modality out.
        align: alignment method.
        holdout: a fraction or expression; those items are never used to fit or choose the alignment.
        seed: of the holdout's draw and the fit.
        index: kind of vector index.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        runtime: what computes the encoders' networks: ``"auto"``, ``"torch"`` or ``"openvino"``.
        batch_size: media encoded at once.
        workers: threads that read and decode; as many as there are cores, up to 8, when None.
        retry_failed: also try unchanged files that failed before.
        progress: is told how each stage gets on.

    Raises:
        SourceError: a source is missing or malformed, or there is nothing to index.
        OptionError, ExpressionError, DeviceError: an option has an unusable value.
        IndexBusyError: another job writes to ``out``.
        XmodalError: the index there cannot be read, or an encoder or alignment fails.
    """
    started = time.monotonic()
    for name, value in (("batch_size", batch_size), ("workers", workers)):
        if value is not None and value < 1:
            raise OptionError(f"{name} must be at least 1, not {value}")
    devices.check(device)
    runtimes.check(runtime)
    wishes = Wishes(preset, encoders, align, holdout, seed, index)
    wishes.settings(None)  # unusable values are refused before anything is read
    corpus = corpora.read(sources, leave_out=Path(out))
    with writing(Path(out)) as draft:
        settings = wishes.settings(draft.settings_before or defaults(corpus))
        skipped = _leave_out(corpus, settings)
        held_out = holdouts.choose(
            settings.holdout,
            {key: item.metadata for key, item in corpus.items.items()},
            corpus.columns,
            seed=settings.seed,
        )
        loaded, stores = _open(draft, settings, device, runtime)
        threads = workers or min(os.cpu_count() or 1, 8)
        encoding = Encoding(loaded, stores, threads, batch_size, progress)
        parts = [part for _, part in corpus.assets()]
        roots = [adapters.absolute(source) for source in sources]
        before = draft.before.sources if draft.before else []
        unmoved = {at for at, (old, new) in enumerate(zip(before, roots, strict=False)) if old == new}
        done = encoding.run(parts, seen(draft.catalog, unmoved), retry_failed=retry_failed)
        problems = corpus.problems + done.problems
        written = catalog_writer.write(draft.catalog, _rows(corpus, done, held_out), problems, corpus.columns)
        changed = written.changed or roots != before
        manifest = _finish(draft, settings, loaded, stores, roots, changed=changed, progress=progress)
    assets = {str(modality): int(entry["vectors"]) for modality, entry in manifest.indexes.items()}
    return Summary(
        items=manifest.counts["items"],
        assets=assets,
        encoded=done.encoded,
        reused=sum(assets.values()) - done.encoded,
        removed=written.removed,
        failed=len(problems),
        failures=[{"path": problem.path, "reason": problem.reason} for problem in problems[:SHOWN_FAILURES]],
        skipped=skipped,
        generation=manifest.generation,
        alignment=str(manifest.alignment["method"]),
        seconds=time.monotonic() - started,
    )


def _leave_out(corpus: Corpus, settings: Settings) -> dict[str, int]:
    """Drop the parts that no encoder reads, and the items that have no other; returns how many a modality."""
    skipped: dict[str, int] = {}
    for key, item in list(corpus.items.items()):
        for part in item.parts:
            if part.modality not in settings.encoders and not part.is_track:
                skipped[str(part.modality)] = skipped.get(str(part.modality), 0) + 1
        item.parts = [part for part in item.parts if part.modality in settings.encoders]
        if not item.parts:
            del corpus.items[key]
    if not corpus.items and not corpus.problems:
        raise SourceError(
            f"the sources hold nothing but {', '.join(skipped)}, and the index has encoders for "
            f"{', '.join(settings.encoders)}: name an encoder for what there is"
        )
    return skipped


def _rows(corpus: Corpus, done: Encoded, held_out: set[str]) -> list[ItemRow]:
    """The catalog's rows: every item that has at least one asset with features."""
    rows = []
    for key, item in corpus.items.items():
        assets: list[AssetRow] = []
        media = Counter[Modality]()
        for part in item.parts:
            if found := done.assets(part, media[part.modality]):
                assets += found
                media[part.modality] += 1
        if assets:
            rows.append(ItemRow(key, key in held_out, item.metadata, assets))
    return rows


def _finish(
    draft: Draft,
    settings: Settings,
    encoders: Mapping[Modality, Encoder],
    stores: Mapping[Modality, FeatureStore],
    sources: list[str],
    *,
    changed: bool,
    progress: Progress = silent,
) -> Manifest:
    """Publish the draft, unless it says nothing that the published generation does not."""
    specs = {modality: encoder.spec for modality, encoder in encoders.items()}
    before = draft.before
    if before and not changed and settings == draft.settings_before and specs == before.encoders:
        return before
    with progress("aligning", 1) as advance:
        alignment, indexes = fit(draft, settings, encoders, stores)
        advance(1)
    return draft.publish(
        encoders=specs,
        numerics={modality: store.numerics for modality, store in stores.items()},
        alignment=alignment,
        indexes=indexes,
        settings=settings,
        sources=sources,
    )


def realign(
    out: str | os.PathLike[str],
    *,
    align: str | None = None,
    holdout: Holdout = None,
    seed: int | None = None,
    device: str = "auto",
) -> Manifest:
    """Fit the alignment of the index ``out`` anew from its stored features; nothing is encoded.

    Args:
        out: an index folder.
        align: alignment method; the one in use when None.
        holdout: another fraction or expression; the one in use when None.
        seed: of the holdout's draw and the fit; the one in use when None.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Returns:
        The manifest of the new generation; the published one when nothing would change.

    Raises:
        NotAnIndexError: there is no index.
        OptionError, ExpressionError: an option has an unusable value.
        EncoderMismatchError: the encoders at hand are not those whose features are stored.
        AlignmentError: the method cannot be fitted on what the index holds.
    """
    wishes = Wishes(align=align, holdout=holdout, seed=seed)
    wishes.settings(None)
    with writing(Path(out), must_exist=True) as draft:
        settings = wishes.settings(draft.settings_before)
        encoders, stores = _open(draft, settings, device)
        for modality, encoder in encoders.items():
            if draft.before and modality in draft.before.encoders:
                check_same(draft.before.encoders[modality], encoder.spec)
        changed = catalog_writer.hold_out(
            draft.catalog,
            holdouts.choose(
                settings.holdout, draft.catalog.metadata(), draft.catalog.columns(), seed=settings.seed
            ),
        )
        sources = draft.before.sources if draft.before else []
        return _finish(draft, settings, encoders, stores, sources, changed=changed)


def _open(
    draft: Draft, settings: Settings, device: str, runtime: str = "auto"
) -> tuple[dict[Modality, Encoder], dict[Modality, FeatureStore]]:
    """The encoders that the settings name, and the store of each one's features."""
    encoders = {
        modality: registry.load(name, modality, device, runtime)
        for modality, name in settings.encoders.items()
    }
    stores = {
        modality: FeatureStore(draft.layout.features(encoder.spec), encoder.spec.dimension)
        for modality, encoder in encoders.items()
    }
    return encoders, stores
