"""Vector indexes of a draft: built, tuned and measured, or continued from the previous generation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from indexer.fitting import score_backgrounds
from indexer.fitting.projection import ProjectedAssets
from indexer.fitting.score_backgrounds import QuerySamples
from indexer.publishing.draft import Draft
from indexer.settings import Settings
from retrieval.arrays import lazy, npy
from retrieval.arrays.lazy import MatrixLike
from retrieval.types import Integers, Modality
from retrieval.vectors import faiss_files, incremental, index_selection, load_index
from retrieval.vectors import query_sample as samples
from retrieval.vectors.index_selection import Requirements
from retrieval.vectors.query_sample import Sample

INDEX_SETTINGS = ("index", "recall", "memory", "favour", "seed")
"""Settings that determine an index; if one changes, the index is built again."""


def write(
    draft: Draft, aligned: ProjectedAssets, query_samples: QuerySamples
) -> dict[Modality, dict[str, Any]]:
    """Write the index of each modality that has assets.

    Args:
        draft: the generation being prepared.
        aligned: its projected assets.
        query_samples: sample queries of each modality.

    Returns:
        The manifest's entry of each modality.

    Raises:
        OptionError: an index does not fit the vectors or the memory.
    """
    sample = {modality: vectors for modality, (vectors, _) in query_samples.items()}
    backgrounds = score_backgrounds.measure(aligned, query_samples)
    entries = {}
    for modality, table in aligned.present.items():
        path = draft.files.vectors(modality)
        # Project once into a file, and read that in blocks as often as needed.
        columns = aligned.alignment.dimension
        with lazy.temporary_matrix(
            path.with_suffix(".projected"), aligned.blocks(modality), columns
        ) as vectors:
            entry = _continued(draft, aligned, modality, vectors)
            if entry is None:
                entry = build_index(draft, aligned, vectors, sample, path)
        npy.write(draft.files.assets(modality), np.stack([table.assets, table.media], axis=1))
        entries[modality] = {**entry, **backgrounds[modality].save(draft.files.centre(modality))}
    return entries


def build_index(
    draft: Draft, aligned: ProjectedAssets, vectors: MatrixLike, sample: Sample, path: Path
) -> dict[str, Any]:
    """Write an index of ``vectors`` to ``path``, of the kind in the settings, and return the manifest's entry.

    If memory is limited, the index gets a share in proportion to its number of vectors.
    """
    settings = aligned.settings
    memory_share = settings.memory and settings.memory * len(vectors) // _vector_count(draft, settings)
    needs = Requirements(
        recall=settings.recall,
        memory=memory_share,
        favour=settings.favour,
        seed=settings.seed,
        device=aligned.device,
    )
    entry = index_selection.build(settings.index, vectors, sample, needs, path)
    if "measured" in entry:
        samples.write(faiss_files.sample(path), sample)
    return entry


def _vector_count(draft: Draft, settings: Settings) -> int:
    """Return the number of vectors in all indexes of the generation."""
    counts = draft.catalog.counts()
    return sum(counts.get(modality, 0) for modality in Modality) + (counts["items"] if settings.fuse else 0)


def _continued(
    draft: Draft, aligned: ProjectedAssets, modality: Modality, vectors: MatrixLike
) -> dict[str, Any] | None:
    """Update the previous index by what changed and return its entry; None if there is no index that can be updated."""
    settings = aligned.settings
    before, settings_before = draft.before, draft.settings_before
    entry = before.indexes.get(modality, {}) if before else {}
    # An exact index, which has no "factory", is fast to rebuild.
    if before is None or settings_before is None or "factory" not in entry:
        return None
    if before.alignment["fingerprint"] != aligned.alignment.fingerprint:
        return None
    if any(getattr(settings_before, name) != getattr(settings, name) for name in INDEX_SETTINGS):
        return None
    # With or without an index of items, its share of the memory has changed.
    if settings.memory and bool(settings_before.fuse) != bool(settings.fuse):
        return None
    files_before = draft.layout.generation(before.generation)
    index = load_index.load(entry, files_before.vectors(modality))
    known: Integers = npy.read(files_before.assets(modality))[:, 0]
    updated = incremental.update(index, known, aligned.tables[modality].assets, vectors)
    if updated is None:
        return None
    incremental.link_files(files_before.vectors(modality), draft.files.vectors(modality))
    updated.save_beside(draft.files.vectors(modality))
    return incremental.manifest_entry(updated, entry)
