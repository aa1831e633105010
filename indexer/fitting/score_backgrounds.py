"""The background of every pair of modalities: how scores are distributed where nothing is meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from indexer.fitting.projection import ProjectedAssets
from retrieval.arrays import npy
from retrieval.search import calibration
from retrieval.storage.catalog import AssetTable
from retrieval.types import Integers, Matrix, Modality, Target
from retrieval.vectors import query_sample as samples

QuerySamples: TypeAlias = Mapping[Modality, "tuple[Matrix, Integers]"]
"""Of each modality that may ask, a sample: (q, d) float32 in the aligned space, and (q,) the item each is of."""

NO_ITEM = -1
"""Whose a row is that no item has, such as a class name: everybody else's is another's."""


@dataclass(frozen=True)
class ScoreBackground:
    """How scores are distributed where one modality is looked for.

    Attributes:
        centre: (d,) float32, the mean of what is looked for.
        scores: by what a query is made of, how far above its score with the centre they are, at
            ``calibration.LOG_ODDS``; nothing of pairs too few to tell.
    """

    centre: Matrix
    scores: Mapping[str, list[float]]

    def save(self, path: Path) -> dict[str, Any]:
        """Write the centre to ``path``, and return the rest as the manifest's entry has it."""
        npy.write(path, self.centre)
        return {calibration.BACKGROUND: self.scores}


def _sampled(aligned: ProjectedAssets, modality: Modality, table: AssetTable) -> tuple[Integers, Integers]:
    """(q,) feature rows of a sample of what may ask, and (q,) whose they are.

    Its assets, or without any, whatever else was encoded of the modality: such as the class names by which
    pictures without captions are found.
    """
    if len(table.assets):
        rows, items = table.features[table.whole], table.items[table.whole]
    else:
        rows = np.arange(len(aligned.stores[modality]))
        items = np.full(len(rows), NO_ITEM, np.int64)
    chosen = samples.draw(len(rows), aligned.settings.seed)
    return rows[chosen], items[chosen]


def queries(aligned: ProjectedAssets) -> QuerySamples:
    """A sample of every modality that may ask."""
    drawn = {}
    for modality, table in aligned.tables.items():
        rows, items = _sampled(aligned, modality, table)
        if len(rows) and modality in aligned.alignment.projectors:
            drawn[modality] = aligned.read(modality, rows), items
    return drawn


def measure(aligned: ProjectedAssets, asking: QuerySamples) -> dict[Modality, ScoreBackground]:
    """By the modality that is looked for, its background.

    Scores are those of ``asking`` with a sample of media, each medium by its best segment as in a search.
    """
    found = {}
    for modality, table in aligned.present.items():
        if modality not in aligned.alignment.projectors:
            continue
        media = np.unique(table.media)
        # Another seed than the queries', or the same media would be on both sides.
        media = media[samples.draw(len(media), aligned.settings.seed + 1)]
        chosen = np.flatnonzero(np.isin(table.media, media))
        chosen = chosen[np.argsort(table.media[chosen], kind="stable")]
        asked = aligned.read(modality, table.features[chosen])
        found[modality] = against(asking.items(), asked, table.media[chosen], table.items[chosen])
    return found


def against(
    asking: Iterable[tuple[Target, tuple[Matrix, Integers]]], rows: Matrix, media: Integers, owners: Integers
) -> ScoreBackground:
    """Return the score distribution of queries and media of other items; see ``unrelated_pair_scores``."""
    centre: Matrix = rows.mean(axis=0)
    own = {}
    for source, (vectors, items) in asking:
        scores = calibration.unrelated_pair_scores(vectors, items, rows - centre, media, owners)
        if (kept := calibration.background_quantiles(scores)) is not None:
            own[str(source)] = [round(float(score), 6) for score in kept]
    return ScoreBackground(centre, own)
