"""The job: sources in, a new published generation of the index out."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from indexer import holdout as holdouts
from indexer.changes import mass_removal
from indexer.changes.journal import Journal
from indexer.changes.reading import known_files, read_contents, unmoved
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
from retrieval.encoders.base import Encoder, check_same
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

    Only what is new or changed is encoded, what is gone is removed. A file that fails is recorded and stops
    nothing. Readers see the former generation until the new one is published, in one rename.

    Args:
        sources: folders, manifests, and data sets as ``FORMAT:PATH``.
        out: the index folder; made if it is missing.
        preset: a set of encoders, of ``retrieval.encoders.registry.PRESETS``. This and the next nine are,
            when None, what the index was built with, or the defaults.
        encoders: by modality, encoders that differ from the preset's; ``"none"`` leaves a modality out.
        align: alignment method.
        holdout: a fraction or expression; those items are never used to fit or choose the alignment.
        seed: of the holdout's draw and the fit.
        index: kind of vector index.
        recall: the share of exact search's answers that an approximate index must find.
        memory: bytes that the vector indexes may take together, also as ``"4GB"``.
        favour: ``"single"`` or ``"batch"``: which queries must be fast.
        fuse: how all that an item has becomes one vector, for searches of whole items; ``"none"``: not at all.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        runtime: what computes the encoders' networks: ``"auto"``, ``"torch"`` or ``"openvino"``.
        batch_size: media encoded at once.
        workers: how many files are read and decoded at once; as many as there are cores, up to 8, when None.
        retry_failed: also try unchanged files that failed before.
        allow_mass_removal: let go of more than half of what the index has of a source, without which that is taken
            for a disk that is not there.
        trusted: decode in this process, not in others that may die: no file may crash or hang its decoder.
        progress: is told how each stage gets on.

    Raises:
        SourceError: a source is missing or malformed, or there is nothing to index.
        OptionError, ExpressionError, DeviceError: an option has an unusable value.
        MassRemovalError: more than half of what was indexed is gone, and nobody allowed that.
        IndexBusyError: another job writes to ``out``.
        WorkerError: no process can be started to decode in.
        XmodalError: the index there cannot be read, or an encoder or alignment fails.
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
    options.settings(None)  # unusable values are refused before anything is read
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
        check_parts(settings, loaded, {part.modality for part in parts})  # before all is encoded for nothing
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
                    draft.catalog, corpus, reading, before, roots, settings.encoders
                )
            encoding = CorpusEncoder(loaded, stores, threads, batch_size, progress, journal.fail, trusted)
            done = encoding.run(parts, reading)
        encoded, problems = done.encoded, corpus.problems + done.problems
        written = catalog_writer.write(draft.catalog, _rows(corpus, done, held_out), problems, corpus.columns)
        changed = written.changed or roots != before
        # All that is known of every file is in the catalog now, and makes room.
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
    device: str,
    progress: Progress = silent,
) -> Manifest:
    """Publish the draft, unless it says nothing that the published generation does not."""
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
    """Fit the alignment of the index ``out`` anew from its stored features; nothing is encoded.

    Args:
        out: an index folder.
        align: alignment method; the one in use when None.
        holdout: another fraction or expression; the one in use when None.
        seed: of the holdout's draw and the fit; the one in use when None.
        fuse: how an item's parts become one vector; the one in use when None, ``"none"`` for no such vectors.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Returns:
        The manifest of the new generation; the published one when nothing would change.

    Raises:
        NotAnIndexError: there is no index.
        OptionError, ExpressionError: an option has an unusable value.
        EncoderMismatchError: the encoders at hand are not those whose features are stored.
        AlignmentError: the method cannot be fitted on what the index holds.
    """
    options = BuildOptions(align=align, holdout=holdout, seed=seed, fuse=fuse)
    options.settings(None)
    with writing(Path(out), must_exist=True) as draft:
        settings = options.settings(draft.settings_before)
        encoders, stores = _open(draft, settings, device)
        for modality, encoder in encoders.items():
            if draft.before and modality in draft.before.encoders:
                check_same(draft.before.encoders[modality], encoder.spec)
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
    """See that the stores hold what the catalog says, for nothing is encoded if they do not."""
    for modality, store in stores.items():
        assets = catalog.stored(modality)
        rows = np.array([asset.feature for asset in assets], dtype=np.int64)
        there = store.holds(rows, [asset.content for asset in assets])
        if not there.all():
            raise DamagedIndexError(
                f"the {modality} features of {int((~there).sum())} of {len(assets)} assets are not stored: "
                "run 'xmodal repair' on the index, or 'xmodal index' with its sources"
            )


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
