"""Hubs, rows that are near everything, are moved away from what asks: a correction that stays an inner product.

Cross-domain similarity local scaling (Conneau et al., "Word translation without parallel data", 2018) with a bank of
training rows in place of the queries (Bogolin et al., "Cross modal retrieval with querybank normalisation", 2022):

    score(x, y) = (x . y - weight * (nearness(x) - its mean) - weight * (nearness(y) - its mean)) / (|x'| |y'|)

where nearness is the mean similarity to the nearest ``NEAREST`` rows of the other modality's bank. The two terms
are columns: where one modality has its nearness, the other has a constant. x' and y' are x and y with their columns,
which are made units again: with one bank |x'|^2 = 1 + c^2 + (weight / c * (nearness(x) - its mean))^2, c being the
constant. So scores shrink a little, and those of rows far from the mean a little more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from retrieval.alignment.linked_modalities import Connections
from retrieval.alignment.maps.bank import NEAREST, Bank, nearness
from retrieval.alignment.maps.projector import Projector
from retrieval.types import Modality

WEIGHT = 0.5
"""Of nearness: the paper's."""

ROWS = 500
"""Of a bank, at most."""

LEAST = 2 * NEAREST
"""Items with both modalities below which a bank says nothing of what is near everything."""


def relieved(
    projectors: Mapping[Modality, Projector], connections: Connections, seed: int
) -> dict[Modality, Projector]:
    """The projectors with two more columns for every two modalities with enough pairs.

    Args:
        projectors: without such columns.
        connections: whose pairs the banks are taken from.
        seed: of the draw where there are more rows than a bank takes.
    """
    random = np.random.default_rng(seed)
    banks: dict[Modality, list[Bank]] = {modality: [] for modality in projectors}
    linked = [link for link, pairs in connections.pairs.items() if pairs.count >= LEAST]
    for number, link in enumerate(linked):
        pairs = connections.pairs[link]
        kept = random.permutation(np.unique(pairs.items, return_index=True)[1])[:ROWS]
        two = [connections.modalities[view] for view in link]
        rows = [projectors[modality].project(pairs.features(view, kept)) for view, modality in enumerate(two)]
        for view, modality in enumerate(two):
            own, others = rows[view], rows[1 - view]
            level = float(nearness(own @ others.T).mean())
            banks[modality].append(Bank(others, WEIGHT, level, 2 * number + view))
    return {
        modality: replace(projector, banks=tuple(banks[modality]), bank_columns=2 * len(linked))
        for modality, projector in projectors.items()
    }
