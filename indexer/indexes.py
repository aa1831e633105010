"""The vector indexes of a draft: built, tuned and measured, or carried on from the generation before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from indexer import background
from indexer.publish import Draft
from indexer.settings import Settings
from retrieval import arrays, rows
from retrieval.alignment.base import Alignment
from retrieval.catalog import AssetTable
from retrieval.features import FeatureStore
from retrieval.rows import Chosen, MatrixLike
from retrieval.types import Integers, Matrix, Modality
from retrieval.vectors import choice, files, opening, updated
from retrieval.vectors import sample as samples
from retrieval.vectors.choice import Needs
from retrieval.vectors.sample import Sample

DECIDING = ("index", "recall", "memory", "favour", "seed")
"""Settings without which an index would be another one."""


def write(
    draft: Draft,
    settings: Settings,
    alignment: Alignment,
    tables: Mapping[Modality, AssetTable],
    stores: Mapping[Modality, FeatureStore],
    asking: Mapping[Modality, tuple[Matrix, Integers]],
    *,
    device: str = "cpu",
) -> dict[Modality, dict[str, Any]]:
    """Write the index of each modality that has assets.

    Args:
        draft: the generation in the making.
        settings: what is asked of the indexes.
        alignment: from features into the space.
        tables: the assets of each modality.
        stores: their features.
        asking: a sample of what may ask, as ``background.queries`` gives it.
        device: ``"cuda"`` trains and adds on a GPU.

    Returns:
        The manifest's entry of each.

    Raises:
        OptionError: an index does not fit the vectors or the memory.
    """
    sample = {modality: vectors for modality, (vectors, _) in asking.items()}
    backgrounds = background.measure(settings, alignment, tables, stores, asking)
    entries = {}
    for modality, table in tables.items():
        if not len(table.assets):
            continue
        path = draft.files.vectors(modality)
        # Projected once, and then read in blocks from a file as often as they are needed.
        projected = _projected(alignment, modality, Chosen(stores[modality], table.features))
        with rows.filed(path.with_suffix(".projected"), projected, alignment.dimension) as vectors:
            entry = _carried_on(draft, settings, alignment, modality, table, vectors)
            if entry is None:
                entry = built(draft, settings, vectors, sample, path, device=device)
        arrays.write(draft.files.assets(modality), np.stack([table.assets, table.media], axis=1))
        entries[modality] = {**entry, **backgrounds[modality].save(draft.files.centre(modality))}
    return entries


def built(
    draft: Draft, settings: Settings, vectors: MatrixLike, sample: Sample, path: Path, *, device: str
) -> dict[str, Any]:
    """Write an index of ``vectors`` to ``path``, of the kind that is asked for, and return the manifest's entry.

    Where memory is bounded it has its share of it: by its vectors, among all of the generation.
    """
    part = settings.memory and settings.memory * len(vectors) // _indexed(draft, settings)
    needs = Needs(settings.recall, part, settings.favour, settings.seed, device)
    entry = choice.build(settings.index, vectors, sample, needs, path)
    if "measured" in entry:
        samples.write(files.sample(path), sample)
    return entry


def _indexed(draft: Draft, settings: Settings) -> int:
    """How many vectors the generation has in all its indexes."""
    counts = draft.catalog.counts()
    return sum(counts.get(modality, 0) for modality in Modality) + (counts["items"] if settings.fuse else 0)


def _carried_on(
    draft: Draft,
    settings: Settings,
    alignment: Alignment,
    modality: Modality,
    table: AssetTable,
    vectors: MatrixLike,
) -> dict[str, Any] | None:
    """The entry of the index before with what changed since; None where there is none that would do."""
    before, was = draft.before, draft.settings_before
    entry = before.indexes.get(modality, {}) if before else {}
    if before is None or was is None or "factory" not in entry:  # an exact index is rebuilt in no time
        return None
    if before.alignment["fingerprint"] != alignment.fingerprint:
        return None
    if any(getattr(was, name) != getattr(settings, name) for name in DECIDING):
        return None
    if settings.memory and bool(was.fuse) != bool(settings.fuse):  # its share of the memory is another now
        return None
    files_before = draft.layout.generation(before.generation)
    index = opening.load(entry, files_before.vectors(modality))
    known: Integers = arrays.read(files_before.assets(modality))[:, 0]
    carried = updated.continued(index, known, table.assets, vectors)
    if carried is None:
        return None
    updated.link(files_before.vectors(modality), draft.files.vectors(modality))
    carried.save_beside(draft.files.vectors(modality))
    return updated.described(carried, entry)


def _projected(alignment: Alignment, modality: Modality, features: MatrixLike) -> Iterator[Matrix]:
    return (alignment.project(modality, features[block]) for block in rows.blocks(features))
