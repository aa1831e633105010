"""The indexing job: read the sources and publish a new generation of the index."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from indexer import holdout as holdouts
from indexer.changes import mass_removal
from indexer.changes.corpus_hashes import known_files, read_contents, unmoved
from indexer.changes.journal import Journal
from indexer.encoding.corpus_features import CorpusEncoder, CorpusFeatures
from indexer.fitting.fit import check_parts, fit
from indexer.holdout import Holdout
from indexer.job_summary import SHOWN_FAILURES, JobSummary
from indexer.progress import Progress, silent
from indexer.publishing.draft import Draft, writing
from indexer.settings import BuildOptions, Settings, defaults
from indexer.sources import corpus as corpora
from indexer.sources.adapters import registry as adapters
from indexer.sources.corpus import Corpus
from retrieval.encoders import registry
from retrieval.encoders.base import Encoder, check_same_encoder
from retrieval.errors import DamagedIndexError, OptionError
from retrieval.runtimes import device as devices
from retrieval.runtimes import registry as runtimes
from retrieval.storage import catalog_writer
from retrieval.storage.catalog import Catalog
from retrieval.storage.catalog_writer import AssetRow, ItemRow
from retrieval.storage.feature_store import FeatureStore
from retrieval.storage.manifest import Manifest
from retrieval.types import Modality


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
    recall: float | None = None,
    memory: str | int | None = None,
    favour: str | None = None,
    fuse: str | None = None,
    device: str = "auto",
    runtime: str = "auto",
    batch_size: int = 32,
    workers: int | None = None,
    retry_failed: bool = False,
    allow_mass_removal: bool = False,
    trusted: bool = False,
    progress: Progress = silent,
) -> JobSummary:
    """Index ``sources`` into the folder ``out``, or bring the index there up to date with them.

    Only new or changed content is encoded; what is no longer in the sources is removed. A file that fails is
    recorded and does not stop the job. Readers see the previous generation until the new one is published by
    one rename.

    Args:
        sources: folders, manifests, and data sets as ``FORMAT:PATH``.
        out: the index folder; created if it is missing.
        preset: a set of encoders, a name in ``retrieval.encoders.registry.PRESETS``. For this and the next nine
            options, None means the value that the index was built with, or the default for a new index.
        encoders: encoders by modality that replace the preset's; ``"none"`` leaves a modality out.
        align: alignment method.
        holdout: a fraction or an expression; these items are never used to fit or choose the alignment.
        seed: random seed of the holdout and the fit.
        index: kind of vector index.
        recall: recall that an approximate index must reach, relative to exact search.
        memory: bytes that all vector indexes may take together, also as ``"4GB"``.
        favour: ``"single"`` or ``"batch"``: which kind of query must be fast.
        fuse: how all parts of an item become one vector, for searches of whole items; ``"none"`` for no such vectors.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        runtime: library that runs the encoders' networks: ``"auto"``, ``"torch"`` or ``"openvino"``.
        batch_size: media encoded at once.
        workers: number of files read and decoded at once; None for one per core, at most 8.
        retry_failed: also try unchanged files that failed before.
        allow_mass_removal: allow the removal of more than half of a source's assets. Otherwise this is refused,
            because the disk is probably not mounted.
        trusted: decode in this process instead of worker processes. A file that crashes or hangs its decoder
            then crashes or hangs the job.
        progress: receives the progress of each stage.

    Raises:
        SourceError: a source is missing or malformed, or there is nothing to index.
        OptionError, ExpressionError, DeviceError: an option has an unusable value.
        MassRemovalError: more than half of a source's assets are gone, and ``allow_mass_removal`` is False.
        IndexBusyError: another job writes to ``out``.
        WorkerError: no worker process can be started.
        XmodalError: the existing index cannot be read, or an encoder or alignment fails.
    """
    started = time.monotonic()
    for name, value in (("batch_size", batch_size), ("workers", workers)):
        if value is not None and value < 1:
            raise OptionError(f"{name} must be at least 1, not {value}")
    devices.check_device(device)
    runtimes.check_runtime(runtime)
    options = BuildOptions(
        preset=preset,
        encoders=encoders,
        align=align,
        holdout=holdout,
        seed=seed,
        index=index,
        recall=recall,
        memory=memory,
        favour=favour,
        fuse=fuse,
    )
    options.settings(None)  # refuse unusable values before anything is read
    corpus = corpora.read(sources, leave_out=Path(out))
    with writing(Path(out)) as draft:
        settings = options.settings(draft.settings_before or defaults(corpus))
        skipped = corpus.leave_out(settings.encoders)
        held_out = holdouts.choose(
            settings.holdout,
            {key: item.metadata for key, item in corpus.items.items()},
            corpus.columns,
            seed=settings.seed,
        )
        loaded, stores = _open(draft, settings, device, runtime)
        threads = workers or min(os.cpu_count() or 1, 8)
        parts = [part for _, part in corpus.assets()]
        # Fail now rather than after everything is encoded.
        check_parts(settings, loaded, {part.modality for part in parts})
        roots = [adapters.absolute(source) for source in sources]
        before = draft.before.sources if draft.before else []
        journal = Journal(draft.layout.journal, roots)
        with journal.open():
            reading = read_contents(
                parts,
                known_files(draft.catalog, unmoved(before, roots)) | journal.seen(),
                retry_failed=retry_failed,
                workers=threads,
                progress=progress,
                note=journal.note,
            )
            if not allow_mass_removal:
                mass_removal.check_mass_removal(
                    draft.catalog,
                    corpus=corpus,
                    reading=reading,
                    before=before,
                    sources=roots,
                    modalities=settings.encoders,
                )
            encoding = CorpusEncoder(
                encoders=loaded,
                stores=stores,
                workers=threads,
                batch_size=batch_size,
                progress=progress,
                note=journal.fail,
                trusted=trusted,
            )
            done = encoding.run(parts, reading)
        encoded, problems = done.encoded, corpus.problems + done.problems
        written = catalog_writer.write(draft.catalog, _rows(corpus, done, held_out), problems, corpus.columns)
        changed = written.changed or roots != before
        # The catalog now holds everything known about the files: free the memory.
        del corpus, parts, reading, done
        manifest = _finish(
            draft, settings, loaded, stores, roots, changed=changed, device=device, progress=progress
        )
        journal.remove()
    assets = {str(modality): int(entry["vectors"]) for modality, entry in manifest.indexes.items()}
    return JobSummary(
        items=manifest.counts["items"],
        assets=assets,
        encoded=encoded,
        reused=sum(assets.values()) - encoded,
        removed=written.removed,
        failed=len(problems),
        failures=[{"path": problem.path, "reason": problem.reason} for problem in problems[:SHOWN_FAILURES]],
        skipped=skipped,
        generation=manifest.generation,
        alignment=str(manifest.alignment["method"]),
        seconds=time.monotonic() - started,
    )


def _rows(corpus: Corpus, done: CorpusFeatures, held_out: set[str]) -> list[ItemRow]:
    """Return the catalog's rows: one for each item that has at least one asset with features."""
    rows = []
    for key, item in corpus.items.items():
        assets: list[AssetRow] = []
        media = Counter[Modality]()
        for part in item.parts:
            if asset_rows := done.assets(part, media[part.modality]):
                assets += asset_rows
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
    device: str,
    progress: Progress = silent,
) -> Manifest:
    """Publish the draft, unless it equals the published generation."""
    specs = {modality: encoder.spec for modality, encoder in encoders.items()}
    before = draft.before
    if (
        before
        and not (changed or draft.is_stale)
        and settings == draft.settings_before
        and specs == before.encoders
    ):
        return before
    with progress("aligning", 1) as advance:
        alignment, indexes, items = fit(draft, settings, encoders, stores, device=device)
        advance(1)
    return draft.publish(
        encoders=specs,
        numerics={modality: store.numerics for modality, store in stores.items()},
        alignment=alignment,
        indexes=indexes,
        items=items,
        settings=settings,
        sources=sources,
    )


def realign(
    out: str | os.PathLike[str],
    *,
    align: str | None = None,
    holdout: Holdout = None,
    seed: int | None = None,
    fuse: str | None = None,
    device: str = "auto",
) -> Manifest:
    """Fit the alignment of the index ``out`` again from its stored features; nothing is encoded.

    Args:
        out: an index folder.
        align: alignment method; None for the one in use.
        holdout: a fraction or an expression; None for the one in use.
        seed: random seed of the holdout and the fit; None for the one in use.
        fuse: how an item's parts become one vector; None for the one in use, ``"none"`` for no such vectors.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Returns:
        The manifest of the new generation, or the published manifest if nothing would change.

    Raises:
        NotAnIndexError: there is no index.
        OptionError, ExpressionError: an option has an unusable value.
        EncoderMismatchError: the installed encoders are not those whose features are stored.
        AlignmentError: the method cannot be fitted on this index's features.
    """
    options = BuildOptions(align=align, holdout=holdout, seed=seed, fuse=fuse)
    options.settings(None)
    with writing(Path(out), must_exist=True) as draft:
        settings = options.settings(draft.settings_before)
        encoders, stores = _open(draft, settings, device)
        for modality, encoder in encoders.items():
            if draft.before and modality in draft.before.encoders:
                check_same_encoder(draft.before.encoders[modality], encoder.spec)
        _check_features(draft.catalog, stores)
        changed = catalog_writer.hold_out(
            draft.catalog,
            holdouts.choose(
                settings.holdout, draft.catalog.metadata(), draft.catalog.columns(), seed=settings.seed
            ),
        )
        sources = draft.before.sources if draft.before else []
        return _finish(draft, settings, encoders, stores, sources, changed=changed, device=device)


def _check_features(catalog: Catalog, stores: Mapping[Modality, FeatureStore]) -> None:
    """Check that the stores hold all features that the catalog lists: ``realign`` cannot encode missing ones.

    Raises:
        DamagedIndexError: features are missing.
    """
    for modality, store in stores.items():
        assets = catalog.stored(modality)
        rows = np.array([asset.feature for asset in assets], dtype=np.int64)
        is_stored = store.holds(rows, [asset.content for asset in assets])
        if not is_stored.all():
            raise DamagedIndexError(
                f"the {modality} features of {int((~is_stored).sum())} of {len(assets)} assets are not stored: "
                "run 'xmodal repair' on the index, or 'xmodal index' with its sources"
            )


def _open(
    draft: Draft, settings: Settings, device: str, runtime: str = "auto"
) -> tuple[dict[Modality, Encoder], dict[Modality, FeatureStore]]:
    """Load the encoders that the settings name, and open the feature store of each."""
    encoders = {
        modality: registry.load(name, modality, device, runtime)
        for modality, name in settings.encoders.items()
    }
    stores = {
        modality: FeatureStore(draft.layout.features(encoder.spec), encoder.spec.dimension)
        for modality, encoder in encoders.items()
    }
    return encoders, stores
