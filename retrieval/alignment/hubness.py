"""Hubs, rows that are near everything, are moved away from what asks: a correction that stays an inner product.

Cross-domain similarity local scaling (Conneau et al., "Word translation without parallel data", 2018) with a bank of
training rows in place of the queries (Bogolin et al., "Cross modal retrieval with querybank normalisation", 2022):

    score(x, y) = x . y - weight * (nearness(x) - its mean) - weight * (nearness(y) - its mean)

where nearness is the mean similarity to the nearest ``NEAREST`` rows of the other modality's bank. The two terms
are columns: where one modality has its nearness, the other has a constant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from retrieval.alignment.evidence import Evidence, weigh
from retrieval.types import Matrix, Modality

if TYPE_CHECKING:
    from retrieval.alignment.links import Connections
    from retrieval.alignment.projector import Projector

NEAREST = 10
"""Rows of the bank that count: the paper's."""

BANK = 500
"""Rows of a bank, at most."""

WEIGHT = 0.5
"""Of nearness: the paper's. The likeliest weight on the folds is smaller, and ranks fewer partners among the first."""

CONSTANT = 0.35
"""Column that the nearness of the other modality meets. Larger, and it takes up the vectors' norm and with it the
difference between scores within a modality; smaller, and the nearnesses do, which then meet each other there."""


@dataclass(frozen=True)
class Bank:
    """Rows of another modality that stand for what may ask.

    Attributes:
        rows: (m, k) float32 unit rows of the space without the columns for nearness.
        weight: of nearness in the score.
        level: mean nearness, which takes no part.
        column: of nearness; the constant for the other modality is in its neighbour, ``column ^ 1``.
    """

    rows: Matrix
    weight: float
    level: float
    column: int

    def columns(self, rows: Matrix, count: int) -> Matrix:
        """(n, count) float32: nearness and constant of (n, k) unit rows, 0 elsewhere."""
        out = np.zeros((len(rows), count), np.float32)
        excess = nearness(rows @ self.rows.T) - self.level
        out[:, self.column] = -self.weight / CONSTANT * excess
        out[:, self.column ^ 1] = CONSTANT
        return out


def nearness(similarities: Matrix) -> Matrix:
    """(n,) mean of the ``NEAREST`` largest of each row of (n, m) similarities, of all if there are fewer."""
    kept = min(NEAREST, similarities.shape[1])
    largest: Matrix = np.partition(similarities, -kept, axis=1)[:, -kept:]
    means: Matrix = largest.mean(axis=1)
    return means


def _without_asker(strangers: Matrix) -> Matrix:
    """(q, q) nearness of row i to all columns but j (and i, which is -inf), for every i and j."""
    largest = -np.sort(-strangers, axis=1)[:, : NEAREST + 1]
    total = largest[:, :NEAREST].sum(axis=1, keepdims=True)
    counted = (strangers >= largest[:, NEAREST - 1, None]) & np.isfinite(strangers)
    instead = np.where(counted, largest[:, NEAREST, None] - np.where(counted, strangers, 0), 0)
    means: Matrix = (total + instead) / NEAREST
    return means


def worth(pools: Sequence[Matrix], evidence: Evidence) -> float:
    """``WEIGHT`` where some weight of nearness clearly makes held-out partners likelier, else 0.

    It is clear where the gain is more than a standard error over the folds. Neither side of a similarity has itself or
    its partner in the bank, as later: else a wrong candidate would be held to be near because of the very similarity
    that is judged, the right one not, and pure noise would speak for a correction.

    Args:
        pools: as ``weigh`` has them.
        evidence: what ``weigh`` found.
    """
    total = evidence.weights.sum()
    if total <= 0 or min(pool.shape[1] for pool in pools) <= 2 * NEAREST:
        return 0.0
    corrected = []
    for pool in pools:
        similarities = np.tensordot(evidence.weights / total, pool, axes=1)
        strangers = similarities.copy()
        np.fill_diagonal(strangers, -np.inf)
        near = _without_asker(strangers) + _without_asker(strangers.T).T
        corrected.append(np.stack([similarities, -near]))
    found = weigh(corrected)
    gains = evidence.losses - found.losses
    if not found.weights[1] or gains.mean() <= gains.std() / len(gains) ** 0.5:
        return 0.0
    return WEIGHT


def relieved(
    projectors: Mapping[Modality, Projector],
    connections: Connections,
    weights: Mapping[tuple[Modality, Modality], float],
    seed: int,
) -> dict[Modality, Projector]:
    """The projectors with columns for every two modalities of which one's nearness counts.

    Args:
        projectors: without such columns.
        connections: whose pairs the banks are taken from.
        weights: by two linked modalities; those of 0 are left out.
        seed: of the draw where there are more rows than a bank takes.
    """
    random = np.random.default_rng(seed)
    banks: dict[Modality, list[Bank]] = {modality: [] for modality in projectors}
    counted = [(two, weight) for two, weight in weights.items() if weight > 0]
    for number, (two, weight) in enumerate(counted):
        pairs = connections.pairs[connections.link(two)]
        kept = random.permutation(np.unique(pairs.items, return_index=True)[1])[:BANK]
        rows = [projectors[modality].project(pairs.features(view, kept)) for view, modality in enumerate(two)]
        for view, modality in enumerate(two):
            own, others = rows[view], rows[1 - view]
            level = float(nearness(own @ others.T).mean())
            banks[modality].append(Bank(others, weight, level, 2 * number + view))
    return {
        modality: replace(projector, banks=tuple(banks[modality]), bank_columns=2 * len(counted))
        for modality, projector in projectors.items()
    }
