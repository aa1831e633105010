"""Score background of every pair of modalities: the score distribution of unrelated pairs."""

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
"""Sample queries by modality: (q, d) float32 vectors in the aligned space, and (q,) the item of each."""

NO_ITEM = -1
"""Owner of a row that belongs to no item, such as a class name: it is unrelated to every asset."""


@dataclass(frozen=True)
class ScoreBackground:
    """Score distribution of unrelated pairs for one target modality.

    Attributes:
        centre: (d,) float32, the mean of the target vectors.
        scores: by query modality, quantiles of the scores minus the query's score with the centre, at
            ``calibration.LOG_ODDS``; modalities with too few pairs are missing.
    """

    centre: Matrix
    scores: Mapping[str, list[float]]

    def save(self, path: Path) -> dict[str, Any]:
        """Write the centre to ``path``, and return the rest for the manifest's entry."""
        npy.write(path, self.centre)
        return {calibration.BACKGROUND: self.scores}


def _sampled(aligned: ProjectedAssets, modality: Modality, table: AssetTable) -> tuple[Integers, Integers]:
    """Return (q,) feature rows of sample queries, and (q,) the items that they belong to.

    These are assets of the modality. Without assets, they are whatever else was encoded of the modality, such as
    the class names that find pictures without captions.
    """
    if len(table.assets):
        rows, items = table.features[table.whole], table.items[table.whole]
    else:
        rows = np.arange(len(aligned.stores[modality]))
        items = np.full(len(rows), NO_ITEM, np.int64)
    chosen = samples.draw(len(rows), aligned.settings.seed)
    return rows[chosen], items[chosen]


def queries(aligned: ProjectedAssets) -> QuerySamples:
    """Return sample queries of every modality."""
    query_samples = {}
    for modality, table in aligned.tables.items():
        rows, items = _sampled(aligned, modality, table)
        if len(rows) and modality in aligned.alignment.projectors:
            query_samples[modality] = aligned.read(modality, rows), items
    return query_samples


def measure(aligned: ProjectedAssets, query_samples: QuerySamples) -> dict[Modality, ScoreBackground]:
    """Return the score background of each target modality.

    Scores are those of ``query_samples`` with a sample of media. As in a search, the best segment of a medium counts.
    """
    backgrounds = {}
    for modality, table in aligned.present.items():
        if modality not in aligned.alignment.projectors:
            continue
        media = np.unique(table.media)
        # A different seed from the queries', or both samples would have the same media.
        media = media[samples.draw(len(media), aligned.settings.seed + 1)]
        chosen = np.flatnonzero(np.isin(table.media, media))
        chosen = chosen[np.argsort(table.media[chosen], kind="stable")]
        gallery = aligned.read(modality, table.features[chosen])
        backgrounds[modality] = against(
            query_samples.items(), gallery, table.media[chosen], table.items[chosen]
        )
    return backgrounds


def against(
    queries: Iterable[tuple[Target, tuple[Matrix, Integers]]], rows: Matrix, media: Integers, owners: Integers
) -> ScoreBackground:
    """Return the score distribution of unrelated pairs of ``queries`` and gallery rows.

    ``rows``, ``media`` and ``owners`` are those of the gallery, as ``calibration.unrelated_pair_scores`` takes them.
    """
    centre: Matrix = rows.mean(axis=0)
    scores_by_source = {}
    for source, (vectors, items) in queries:
        scores = calibration.unrelated_pair_scores(vectors, items, rows - centre, media, owners)
        if (quantiles := calibration.background_quantiles(scores)) is not None:
            scores_by_source[str(source)] = [round(float(score), 6) for score in quantiles]
    return ScoreBackground(centre, scores_by_source)
