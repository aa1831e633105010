"""The background of every pair of modalities: how scores are distributed where nothing is meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from indexer.settings import Settings
from retrieval import arrays, calibration
from retrieval.alignment.base import Alignment
from retrieval.catalog import AssetTable
from retrieval.features import FeatureStore
from retrieval.types import Integers, Matrix, Modality, Target
from retrieval.vectors import sample as samples

NOBODY = -1
"""Whose a row is that no item has, such as a class name: everybody else's is another's."""


@dataclass(frozen=True)
class Background:
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
        arrays.write(path, self.centre)
        return {calibration.BACKGROUND: self.scores}


def _asking(settings: Settings, table: AssetTable, store: FeatureStore) -> tuple[Integers, Integers]:
    """(q,) feature rows of a sample of what may ask, and (q,) whose they are.

    Its assets, or without any, whatever else was encoded of the modality: such as the class names by which
    pictures without captions are found.
    """
    if len(table.assets):
        rows, items = table.features[table.whole], table.items[table.whole]
    else:
        rows = np.arange(len(store))
        items = np.full(len(rows), NOBODY, np.int64)
    chosen = samples.draw(len(rows), settings.seed)
    return rows[chosen], items[chosen]


def queries(
    settings: Settings,
    alignment: Alignment,
    tables: Mapping[Modality, AssetTable],
    stores: Mapping[Modality, FeatureStore],
) -> dict[Modality, tuple[Matrix, Integers]]:
    """A sample of every modality that may ask: (q, d) float32 in the aligned space, and (q,) whose they are."""
    drawn = {}
    for modality, table in tables.items():
        rows, items = _asking(settings, table, stores[modality])
        if len(rows) and modality in alignment.projectors:
            drawn[modality] = alignment.project(modality, stores[modality].read(rows)), items
    return drawn


def measure(
    settings: Settings,
    alignment: Alignment,
    tables: Mapping[Modality, AssetTable],
    stores: Mapping[Modality, FeatureStore],
    asking: Mapping[Modality, tuple[Matrix, Integers]],
) -> dict[Modality, Background]:
    """By the modality that is looked for, its background.

    Scores are those of ``asking``, what ``queries`` gave, with a sample of media, each medium by its best segment
    as in a search.
    """
    found = {}
    for modality, table in tables.items():
        if not len(table.assets) or modality not in alignment.projectors:
            continue
        media = np.unique(table.media)
        # Another seed than the queries', or the same media would be on both sides.
        media = media[samples.draw(len(media), settings.seed + 1)]
        chosen = np.flatnonzero(np.isin(table.media, media))
        chosen = chosen[np.argsort(table.media[chosen], kind="stable")]
        asked = alignment.project(modality, stores[modality].read(table.features[chosen]))
        found[modality] = against(asking.items(), asked, table.media[chosen], table.items[chosen])
    return found


def against(
    asking: Iterable[tuple[Target, tuple[Matrix, Integers]]], rows: Matrix, media: Integers, owners: Integers
) -> Background:
    """How the scores of what asks with others' media are distributed; the last three as ``pair_scores`` has them."""
    centre: Matrix = rows.mean(axis=0)
    own = {}
    for source, (vectors, items) in asking:
        scores = calibration.pair_scores(vectors, items, rows - centre, media, owners)
        if (kept := calibration.quantiles(scores)) is not None:
            own[str(source)] = [round(float(score), 6) for score in kept]
    return Background(centre, own)
