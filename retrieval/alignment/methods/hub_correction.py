"""Hub correction: lower the scores of hubs, rows that are near every query; the score stays an inner product.

Cross-domain similarity local scaling (Conneau et al., "Word translation without parallel data", 2018) with a bank of
training rows in place of the queries (Bogolin et al., "Cross modal retrieval with querybank normalisation", 2022):

    score(x, y) = (x . y - weight * (r(x) - mean of r) - weight * (r(y) - mean of r)) / (|x'| |y'|)

where the neighbour similarity r is the mean similarity to the nearest ``NEAREST`` rows of the other modality's bank.
Both terms are columns: where one modality has its neighbour similarity, the other has a constant. x' and y' are x and y
with their columns, and are scaled to unit norm again: with one bank |x'|^2 = 1 + c^2 + (weight / c * (r(x) - mean of
r))^2, where c is the constant. So all scores shrink a little, and scores of rows far from the mean a little more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from retrieval.alignment.cca.linked_modalities import Connections
from retrieval.alignment.maps.projector import Projector
from retrieval.alignment.maps.query_bank import NEAREST, QueryBank, neighbour_similarity
from retrieval.types import Modality

WEIGHT = 0.5
"""Weight of the neighbour similarity, as in the paper."""

BANK_ROWS = 500
"""Maximum number of rows in a bank."""

MIN_ITEMS = 2 * NEAREST
"""Minimum number of items with both modalities; with fewer, a bank cannot tell which rows are hubs."""


def correct_hubs(
    projectors: Mapping[Modality, Projector], connections: Connections, seed: int
) -> dict[Modality, Projector]:
    """Return the projectors with two more columns for every two modalities with enough pairs.

    Args:
        projectors: without bank columns.
        connections: the pairs from which the banks are taken.
        seed: seed of the sample, if there are more rows than a bank holds.
    """
    random = np.random.default_rng(seed)
    banks: dict[Modality, list[QueryBank]] = {modality: [] for modality in projectors}
    links = [link for link, pairs in connections.pairs.items() if pairs.count >= MIN_ITEMS]
    for number, link in enumerate(links):
        pairs = connections.pairs[link]
        sample = random.permutation(np.unique(pairs.items, return_index=True)[1])[:BANK_ROWS]
        modalities = [connections.modalities[view] for view in link]
        rows = [
            projectors[modality].project(pairs.features(view, sample))
            for view, modality in enumerate(modalities)
        ]
        for view, modality in enumerate(modalities):
            own_rows, bank_rows = rows[view], rows[1 - view]
            mean_similarity = float(neighbour_similarity(own_rows @ bank_rows.T).mean())
            banks[modality].append(
                QueryBank(bank_rows, weight=WEIGHT, mean_similarity=mean_similarity, column=2 * number + view)
            )
    return {
        modality: replace(projector, banks=tuple(banks[modality]), bank_columns=2 * len(links))
        for modality, projector in projectors.items()
    }
