"""The background of every pair of modalities: how scores are distributed where nothing is meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from indexer.settings import Settings
from retrieval import calibration
from retrieval.alignment.base import Alignment
from retrieval.catalog import AssetTable
from retrieval.features import FeatureStore
from retrieval.types import Integers, Matrix, Modality, Target
from retrieval.vectors import sample as samples

NOBODY = -1
"""Whose a row is that no item has, such as a class name: everybody else's is another's."""

Background = dict[str, list[float]]
"""By what a query is made of, the scores at ``calibration.LOG_ODDS``."""


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
    """By the modality that is looked for, its backgrounds; nothing of pairs too few to tell.

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
    """By what asks, how its scores with others' media are distributed; the last three as ``pair_scores`` has them."""
    own: Background = {}
    for source, (vectors, items) in asking:
        scores = calibration.pair_scores(vectors, items, rows, media, owners)
        if (kept := calibration.quantiles(scores)) is not None:
            own[str(source)] = [round(float(score), 6) for score in kept]
    return own
