"""Against hubs, which are near to everything, and the gap between modalities: corrections of scores.

In spaces of many dimensions a few vectors are among the nearest of very many others (Radovanović et al. 2010), and
one modality's lie apart from another's. A bank of queries, others than those that ask, tells by how much. Every
correction is one of vectors, so that their inner products are the corrected scores, up to what is the same for
all that a query is compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from retrieval.arrays.norms import unit
from retrieval.types import Matrix
from retrieval.validation import known

NEIGHBOURS = 10
"""Of the bank, by which the surroundings of a vector are measured (CSLS, its authors' value)."""

SHARPNESS = 20.0
"""Inverse temperature of querybank normalisation, its authors' value."""


@dataclass(frozen=True)
class Bank:
    """What corrections are learned from: vectors of the space that neither ask nor have to be searched.

    Attributes:
        queries: (b, d) float32 of the modality that asks.
        assets: (a, d) float32 of the modality that is looked for.
    """

    queries: Matrix
    assets: Matrix


Correction = Callable[[Matrix, Matrix, Bank], tuple[Matrix, Matrix]]
"""From (q, d) queries, an (n, d) gallery and a bank to the (q, e) and (n, e) float32 to compare instead."""


def centred(queries: Matrix, gallery: Matrix, bank: Bank) -> tuple[Matrix, Matrix]:
    """Each modality less its mean, which closes the gap between them (Liang et al. 2022)."""
    return unit(queries - bank.queries.mean(axis=0)), unit(gallery - bank.assets.mean(axis=0))


def csls(queries: Matrix, gallery: Matrix, bank: Bank) -> tuple[Matrix, Matrix]:
    """Cross-domain similarity local scaling: 2 cos(q, x) - r(x), r the mean cosine of x's nearest in the bank.

    Conneau et al., "Word Translation Without Parallel Data" (2018). Their r(q) changes no order.
    """
    count = min(NEIGHBOURS, len(bank.queries))
    near = np.partition(gallery @ bank.queries.T, -count, axis=1)[:, -count:].mean(axis=1)
    return _less(queries, gallery, near / 2, np.ones(len(queries), np.bool_))


def querybank(queries: Matrix, gallery: Matrix, bank: Bank) -> tuple[Matrix, Matrix]:
    """Querybank normalisation by the dynamic inverted softmax: exp(b s) / sum over the bank of exp(b s').

    Bogolin et al., "Cross Modal Retrieval with Querybank Normalisation" (2022). It is applied, as there, to the
    queries whose first hit is also the first of one in the bank; of the others it changes nothing.
    """
    told = gallery @ bank.queries.T
    weight = logsumexp(SHARPNESS * told.astype(np.float64), axis=1) / SHARPNESS
    hubs = np.unique(told.argmax(axis=0))
    return _less(queries, gallery, weight, np.isin((queries @ gallery.T).argmax(axis=1), hubs))


def _less(
    queries: Matrix, gallery: Matrix, amount: NDArray[np.floating], which: NDArray[np.bool_]
) -> tuple[Matrix, Matrix]:
    """Vectors by which the scores of ``which`` (q,) queries are less by an ``amount`` (n,) of what is found."""
    asking = np.concatenate([queries, -which[:, None].astype(np.float32)], axis=1)
    return asking, np.concatenate([gallery, amount[:, None].astype(np.float32)], axis=1)


NONE = "none"

CORRECTIONS: Mapping[str, Correction] = MappingProxyType(
    {"centre": centred, "csls": csls, "qbnorm": querybank}
)


def check_correction(name: str) -> str:
    """``name`` itself.

    Raises:
        OptionError: no correction has that name.
    """
    return known("hubness", name, (NONE, *CORRECTIONS))
