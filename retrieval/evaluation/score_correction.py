"""Corrections of scores for hubs and for the gap between modalities.

In spaces of many dimensions a few vectors, the hubs, are among the nearest neighbours of very many others (Radovanović
et al. 2010), and the vectors of one modality lie apart from those of another. A bank of other queries measures both.
Every correction changes vectors, so that their inner products are the corrected scores, up to a term that is the same
for everything a query is compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from retrieval.arrays.norms import unit
from retrieval.option_checks import known
from retrieval.types import Matrix

NEIGHBOURS = 10
"""Nearest bank queries that measure the neighbourhood of a vector (CSLS; the value of its authors)."""

SHARPNESS = 20.0
"""Inverse temperature of querybank normalisation; the value of its authors."""


@dataclass(frozen=True)
class QueryBank:
    """Vectors that corrections are fitted to; they are neither queries nor necessarily in the gallery.

    Attributes:
        queries: (b, d) float32 of the query modality.
        assets: (a, d) float32 of the target modality.
    """

    queries: Matrix
    assets: Matrix


Correction = Callable[[Matrix, Matrix, QueryBank], tuple[Matrix, Matrix]]
"""From (q, d) queries, an (n, d) gallery and a bank to the (q, e) and (n, e) float32 to compare instead."""


def subtract_means(queries: Matrix, gallery: Matrix, bank: QueryBank) -> tuple[Matrix, Matrix]:
    """Subtract each modality's mean, which closes the gap between them (Liang et al. 2022)."""
    return unit(queries - bank.queries.mean(axis=0)), unit(gallery - bank.assets.mean(axis=0))


def csls(queries: Matrix, gallery: Matrix, bank: QueryBank) -> tuple[Matrix, Matrix]:
    """Apply cross-domain similarity local scaling: 2 cos(q, x) - r(x).

    r(x) is the mean cosine of x with its nearest queries in the bank. Conneau et al., "Word Translation Without
    Parallel Data" (2018). Their r(q) is left out, because it does not change the order of a query's results.
    """
    count = min(NEIGHBOURS, len(bank.queries))
    neighbourhood = np.partition(gallery @ bank.queries.T, -count, axis=1)[:, -count:].mean(axis=1)
    return _subtract(queries, gallery, neighbourhood / 2, np.ones(len(queries), np.bool_))


def querybank_normalisation(queries: Matrix, gallery: Matrix, bank: QueryBank) -> tuple[Matrix, Matrix]:
    """Apply querybank normalisation with the dynamic inverted softmax: exp(b s) / sum over the bank of exp(b s').

    Bogolin et al., "Cross Modal Retrieval with Querybank Normalisation" (2022). As there, it changes only the
    queries whose first hit is also the first hit of some query in the bank.
    """
    bank_scores = gallery @ bank.queries.T
    weight = logsumexp(SHARPNESS * bank_scores.astype(np.float64), axis=1) / SHARPNESS
    hubs = np.unique(bank_scores.argmax(axis=0))
    return _subtract(queries, gallery, weight, np.isin((queries @ gallery.T).argmax(axis=1), hubs))


def _subtract(
    queries: Matrix, gallery: Matrix, amounts: NDArray[np.floating], selected: NDArray[np.bool_]
) -> tuple[Matrix, Matrix]:
    """Return vectors whose scores are lower by each gallery row's amount, (n,), for the selected queries, (q,)."""
    extended = np.concatenate([queries, -selected[:, None].astype(np.float32)], axis=1)
    return extended, np.concatenate([gallery, amounts[:, None].astype(np.float32)], axis=1)


NO_CORRECTION = "none"

CORRECTIONS: Mapping[str, Correction] = MappingProxyType(
    {"centre": subtract_means, "csls": csls, "qbnorm": querybank_normalisation}
)


def check_correction(name: str) -> str:
    """Return ``name``.

    Raises:
        OptionError: no correction has that name.
    """
    return known("hubness", name, (NO_CORRECTION, *CORRECTIONS))
