"""The vector indexes of a draft: built, tuned and measured, or carried on from the generation before."""

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
from retrieval.vectors import faiss_files, incremental, load_index, selection
from retrieval.vectors import query_sample as samples
from retrieval.vectors.query_sample import Sample
from retrieval.vectors.selection import Requirements

DECIDING = ("index", "recall", "memory", "favour", "seed")
"""Settings without which an index would be another one."""


def write(draft: Draft, aligned: ProjectedAssets, asking: QuerySamples) -> dict[Modality, dict[str, Any]]:
    """Write the index of each modality that has assets.

    Args:
        draft: the generation in the making.
        aligned: its assets.
        asking: a sample of what may ask.

    Returns:
        The manifest's entry of each.

    Raises:
        OptionError: an index does not fit the vectors or the memory.
    """
    sample = {modality: vectors for modality, (vectors, _) in asking.items()}
    backgrounds = score_backgrounds.measure(aligned, asking)
    entries = {}
    for modality, table in aligned.present.items():
        path = draft.files.vectors(modality)
        # Projected once, and then read in blocks from a file as often as they are needed.
        columns = aligned.alignment.dimension
        with lazy.temporary_matrix(
            path.with_suffix(".projected"), aligned.blocks(modality), columns
        ) as vectors:
            entry = _carried_on(draft, aligned, modality, vectors)
            if entry is None:
                entry = built(draft, aligned, vectors, sample, path)
        npy.write(draft.files.assets(modality), np.stack([table.assets, table.media], axis=1))
        entries[modality] = {**entry, **backgrounds[modality].save(draft.files.centre(modality))}
    return entries


def built(
    draft: Draft, aligned: ProjectedAssets, vectors: MatrixLike, sample: Sample, path: Path
) -> dict[str, Any]:
    """Write an index of ``vectors`` to ``path``, of the kind that is asked for, and return the manifest's entry.

    Where memory is bounded it has its share of it: by its vectors, among all of the generation.
    """
    settings = aligned.settings
    part = settings.memory and settings.memory * len(vectors) // _indexed(draft, settings)
    needs = Requirements(settings.recall, part, settings.favour, settings.seed, aligned.device)
    entry = selection.build(settings.index, vectors, sample, needs, path)
    if "measured" in entry:
        samples.write(faiss_files.sample(path), sample)
    return entry


def _indexed(draft: Draft, settings: Settings) -> int:
    """How many vectors the generation has in all its indexes."""
    counts = draft.catalog.counts()
    return sum(counts.get(modality, 0) for modality in Modality) + (counts["items"] if settings.fuse else 0)


def _carried_on(
    draft: Draft, aligned: ProjectedAssets, modality: Modality, vectors: MatrixLike
) -> dict[str, Any] | None:
    """The entry of the index before with what changed since; None where there is none that would do."""
    settings = aligned.settings
    before, was = draft.before, draft.settings_before
    entry = before.indexes.get(modality, {}) if before else {}
    if before is None or was is None or "factory" not in entry:  # an exact index is rebuilt in no time
        return None
    if before.alignment["fingerprint"] != aligned.alignment.fingerprint:
        return None
    if any(getattr(was, name) != getattr(settings, name) for name in DECIDING):
        return None
    if settings.memory and bool(was.fuse) != bool(settings.fuse):  # its share of the memory is another now
        return None
    files_before = draft.layout.generation(before.generation)
    index = load_index.load(entry, files_before.vectors(modality))
    known: Integers = npy.read(files_before.assets(modality))[:, 0]
    carried = incremental.update(index, known, aligned.tables[modality].assets, vectors)
    if carried is None:
        return None
    incremental.link_files(files_before.vectors(modality), draft.files.vectors(modality))
    carried.save_beside(draft.files.vectors(modality))
    return incremental.manifest_entry(carried, entry)
