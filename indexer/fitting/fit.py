"""From stored features to searchable vectors: fit the alignment if its input changed, project, build indexes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from indexer.changes.content_hash import content_of_text
from indexer.fitting import item_vectors, score_backgrounds, vector_indexes
from indexer.fitting.projection import ProjectedAssets
from indexer.publishing.draft import Draft
from indexer.settings import Settings
from retrieval.alignment.base import Alignment, ClassPrior, FeatureTable, TrainingData
from retrieval.alignment.methods import registry as alignments
from retrieval.alignment.methods.shared_space import shared_modalities
from retrieval.arrays.lazy import SelectedRows
from retrieval.encoders.base import Encoder, Releasable, parts_of
from retrieval.errors import AlignmentError, DamagedIndexError
from retrieval.storage.catalog import AssetTable
from retrieval.storage.feature_store import FeatureStore, first_rows
from retrieval.types import Matrix, Modality


def fit(
    draft: Draft,
    settings: Settings,
    encoders: Mapping[Modality, Encoder],
    stores: Mapping[Modality, FeatureStore],
    *,
    device: str = "cpu",
) -> tuple[dict[str, Any], dict[Modality, dict[str, Any]], dict[str, Any]]:
    """Write the draft's alignment and vector indexes.

    Returns:
        The manifest's entries for the alignment, for each modality's index, and for the index of items.

    Raises:
        AlignmentError: the method cannot be fitted on these features.
    """
    tables = {modality: draft.catalog.table(modality) for modality in encoders}
    check_parts(settings, encoders, [modality for modality, table in tables.items() if len(table.assets)])
    evidence = _evidence(settings, encoders, tables)
    source = _published_alignment(draft, evidence) or _training_data(settings, encoders, stores, tables)
    _release(encoders)
    alignment = source if isinstance(source, Alignment) else alignments.fit(settings.align, source, device)
    alignment.save(draft.files.alignment)
    aligned = ProjectedAssets(settings, alignment, tables, stores, device)
    query_samples = score_backgrounds.queries(aligned)
    entries = vector_indexes.write(draft, aligned, query_samples)
    items_entry = item_vectors.write(draft, aligned, query_samples) if settings.fuse else {}
    alignment_entry = {
        "method": alignment.method,
        "fingerprint": alignment.fingerprint,
        "dimension": alignment.dimension,
        "normalisation": "unit",
        "evidence": evidence,
        "revision": alignments.METHODS[settings.align].revision,
        "report": dict(alignment.report),
    }
    return alignment_entry, entries, items_entry


def check_parts(
    settings: Settings, encoders: Mapping[Modality, Encoder], present: Collection[Modality]
) -> None:
    """Refuse a method that weighs the parts of assets if no asset has parts.

    Args:
        settings: settings of the index.
        encoders: encoders of the index.
        present: modalities to align.

    Raises:
        AlignmentError: no encoder of these modalities keeps parts.
    """
    if alignments.METHODS[settings.align].pools and not any(
        parts_of(encoder) for modality, encoder in encoders.items() if modality in present
    ):
        names = ", ".join(settings.encoders.values())
        raise AlignmentError(
            f"alignment {settings.align!r} weighs the parts of assets, and none of the encoders used here "
            f"({names}) keeps any: run 'xmodal index' on the sources with --preset parts, or align by 'cca'"
        )


def _release(encoders: Mapping[Modality, Encoder]) -> None:
    """Free the encoders' memory: nothing is encoded after this."""
    for encoder in encoders.values():
        if isinstance(encoder, Releasable):
            encoder.release()


def _published_alignment(draft: Draft, evidence: str) -> Alignment | None:
    """Return the published alignment if it was fitted on the same evidence and matches the manifest's fingerprint."""
    if draft.before is None or draft.before.alignment.get("evidence") != evidence:
        return None
    files = draft.layout.generation(draft.before.generation)
    for path in (files.alignment, files.copy_of(files.alignment)):
        with suppress(DamagedIndexError):
            alignment = Alignment.load(path)
            if alignment.fingerprint == draft.before.alignment["fingerprint"]:
                return alignment
    return None


def _evidence(
    settings: Settings, encoders: Mapping[Modality, Encoder], tables: Mapping[Modality, AssetTable]
) -> str:
    """Return a digest of everything that a fit depends on: method and revision, seed, encoders, training features.

    The training features are those of items with assets of several modalities. Of the other items only their
    modalities count.
    """
    digest = hashlib.sha256()
    specs = {modality: encoder.spec.fingerprint for modality, encoder in encoders.items()}
    present = sorted(modality for modality, table in tables.items() if len(table.assets))
    method = [settings.align, alignments.METHODS[settings.align].revision]
    digest.update(json.dumps([method, settings.seed, sorted(specs.items()), present]).encode())
    training_items = {modality: np.unique(table.items[~table.held_out]) for modality, table in tables.items()}
    items, modality_counts = np.unique(np.concatenate(list(training_items.values())), return_counts=True)
    paired = items[modality_counts > 1]
    for table in tables.values():
        chosen = np.isin(table.items, paired) & ~table.held_out & table.whole
        digest.update(np.stack([table.items[chosen], table.features[chosen]]).tobytes())
    return digest.hexdigest()


def _training_data(
    settings: Settings,
    encoders: Mapping[Modality, Encoder],
    stores: Mapping[Modality, FeatureStore],
    tables: Mapping[Modality, AssetTable],
) -> TrainingData:
    training = {}
    for modality, table in tables.items():
        usable = ~table.held_out & table.whole
        if usable.any():
            training[modality] = FeatureTable(
                SelectedRows(stores[modality], table.features[usable]), table.items[usable]
            )
    parts = {
        modality: encoder_parts
        for modality, encoder in encoders.items()
        if (encoder_parts := parts_of(encoder))
    }
    models = []
    for modality, encoder in encoders.items():
        whole = parts[modality].whole if modality in parts else encoder.spec.dimension
        models.append((modality, encoder.spec.name, encoder.spec.weights, whole))
    prior = _class_prior(encoders, stores)
    return TrainingData(training, prior, settings.seed, shared_modalities(models), parts=parts)


def _class_prior(
    encoders: Mapping[Modality, Encoder], stores: Mapping[Modality, FeatureStore]
) -> ClassPrior | None:
    """Return the picture encoder's classifier, or else the video encoder's, with text features of its class names."""
    pictures, text = encoders.get(Modality.IMAGE) or encoders.get(Modality.VIDEO), encoders.get(Modality.TEXT)
    head = pictures.class_head() if pictures else None
    if head is None or text is None:
        return None
    return ClassPrior(head, _text_features(list(head.names), text, stores[Modality.TEXT]))


def _text_features(texts: list[str], encoder: Encoder, store: FeatureStore) -> Matrix:
    """Return the (n, d) float32 features of ``texts``; they are stored like those of captions."""
    contents = [content_of_text(text) for text in texts]
    stored = store.contents()
    missing = {content: text for content, text in zip(contents, texts, strict=True) if content not in stored}
    if missing:
        prepared = [encoder.prepare(text) for text in missing.values()]
        store.append(list(missing), [encoder.spans(each) for each in prepared], encoder.encode(prepared))
        stored = store.contents()
    return store.read(first_rows(stored, contents))
