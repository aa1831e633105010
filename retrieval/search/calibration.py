"""How rare a score is between things that have nothing to do with each other: what makes scores comparable.

A cosine of 0.3 is much between words and pictures and little between two captions. Of every pair of modalities the
index therefore keeps the scores of pairs of different items, its background, as a few quantiles. A score's log-odds
against it mean the same whatever was asked for, and so does its percentile.

A score counts by how far it is above the query's own mean score. That mean orders nothing, but it is no sign of a match
either: where hubs are corrected (``alignment.hubness``) it is the higher, the less a query resembles anything.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from retrieval.types import Integers, Matrix, Target

Values = NDArray[np.float64]

Source: TypeAlias = "tuple[Target | None, float]"
"""What a term of a query is made of, where that is known, and its share of the query's unit vector."""

BACKGROUND = "centred_background"
"""Where a manifest's entry of an index keeps it. Versions that did not centre scores had another name for theirs."""

LEAST_ODDS, STEP = -9.0, 1.5

LOG_ODDS = np.arange(13) * STEP + LEAST_ODDS
"""Where a background is kept: log(p / (1 - p)) of the share p of pairs below, from 0.0001 to 0.9999."""

LEAST = 20
"""Pairs below which nothing is said of a background."""

BEYOND = 2
"""Pairs that have to lie beyond a quantile for it to be taken from them; further out, it is extrapolated."""

LARGEST = 700.0
"""What float64 can still raise e to."""

LEAST_SLOPE = 1e-4
"""Score for a step of log-odds, at the least: where all scores are the same, it is not rounding that ranks."""


def quantiles(scores: Values) -> Values | None:
    """(13,) float64, ascending: a background's scores at ``LOG_ODDS``; None of too few scores.

    Beyond what was seen the log-odds go on in a straight line: an exponential tail.

    Args:
        scores: (n,) of pairs of different items, finite.
    """
    shares = 1 / (1 + np.exp(-LOG_ODDS))
    seen = len(scores) * np.minimum(shares, 1 - shares) >= BEYOND
    if len(scores) < LEAST or seen.sum() < 2:
        return None
    known = np.quantile(scores, shares[seen])
    known += LEAST_SLOPE * np.arange(len(known))
    return _along(known, (LOG_ODDS - LOG_ODDS[seen][0]) / STEP)


def pair_scores(queries: Matrix, items: Integers, rows: Matrix, media: Integers, owners: Integers) -> Values:
    """(n,) float64: the scores of every query with every medium of another item, each medium's best row.

    Args:
        queries: (q, d) of unit norm.
        items: (q,) whose they are.
        rows: (r, d) of unit norm, those of a medium behind each other.
        media: (r,) which medium each is of.
        owners: (r,) whose it is.
    """
    starts = np.flatnonzero(np.r_[True, media[1:] != media[:-1]]) if len(media) else np.empty(0, np.int64)
    best = (
        np.maximum.reduceat(queries @ rows.T, starts, axis=1) if len(starts) else np.empty((len(queries), 0))
    )
    strangers = items[:, None] != owners[starts][None]
    return np.asarray(best[strangers], np.float64)


class Curve(NamedTuple):
    """How the scores of one query are distributed where nothing is meant.

    Attributes:
        scores: 13, ascending, above the query's mean score, at ``LOG_ODDS``.
        mean: the query's mean score.
    """

    scores: Sequence[float]
    mean: float

    # Numbers one by one: a query has ten scores, and NumPy's functions cost as much for ten as for a thousand.

    def log_odds(self, score: float) -> float:
        """Of the share that is below; strictly rising with the score."""
        scores, value = self.scores, score - self.mean
        step = bisect_left(scores, value, 1, len(scores) - 1) - 1
        low = scores[step]
        return LEAST_ODDS + STEP * (step + (value - low) / (scores[step + 1] - low))

    def score_at(self, odds: float) -> float:
        """The inverse."""
        scores, place = self.scores, (odds - LEAST_ODDS) / STEP
        step = min(max(int(place), 0), len(scores) - 2)
        low = scores[step]
        return self.mean + low + (place - step) * (scores[step + 1] - low)


def percentile(odds: float) -> float:
    """The share of the background below, in percent, of log-odds."""
    return 100 / (1 + math.exp(min(-odds, LARGEST)))


def mean_of(curves: Sequence[Curve | None]) -> Curve | None:
    """The curve whose score at any log-odds is the mean of theirs; None where one is not known."""
    known = [curve for curve in curves if curve is not None]
    if len(known) < len(curves):
        return None
    scores = [sum(column) / len(known) for column in zip(*(curve.scores for curve in known), strict=True)]
    return Curve(scores, sum(curve.mean for curve in known) / len(known))


def _along(values: Values, places: Values) -> Values:
    """Rising numbers at real-valued places, beyond the ends by the outermost two."""
    step = places.astype(np.int64).clip(0, len(values) - 2)
    along: Values = values[step] + (places - step) * (values[step + 1] - values[step])
    return along


class Backgrounds:
    """The backgrounds of one modality that is looked for, by what it is asked by."""

    def __init__(self, kept: Mapping[str, Sequence[float]], centre: Matrix | None = None) -> None:
        """Take what the index keeps.

        Args:
            kept: by what a query is made of, 13 scores above the query's mean; nothing where it keeps none.
            centre: (d,) the mean of what is looked for; None where it is zero.
        """
        self._known = {name: np.array(values) for name, values in kept.items()}
        self._pooled = np.mean(list(self._known.values()), axis=0) if kept else np.empty(0)
        self._centre = centre

    def of(self, queries: Sequence[Sequence[Source]], vectors: Matrix) -> list[Curve | None]:
        """The background of each query's scores; None where none is known.

        That of one term is its modality's; of a term of no known modality, the mean of all. A composed query's score
        is the sum of its terms', so that the medians add up, and the deviations from them as those of independent
        numbers do; what is not wanted counts from the other end.

        Args:
            queries: the terms of each.
            vectors: (q, d) what they are put together to.
        """
        if not self._known:
            return [None] * len(queries)
        means = [0.0] * len(queries) if self._centre is None else (vectors @ self._centre).tolist()
        return [Curve(self._one(terms).tolist(), mean) for terms, mean in zip(queries, means, strict=True)]

    def _one(self, terms: Sequence[Source]) -> Values:
        if len(terms) == 1 and terms[0][1] == 1:
            return self._term(terms[0][0])
        middle = len(LOG_ODDS) // 2
        own = [share * self._term(modality)[:: 1 if share >= 0 else -1] for modality, share in terms]
        medians = sum(each[middle] for each in own)
        squares = sum((each - each[middle]) ** 2 for each in own)
        return np.asarray(medians + np.sign(LOG_ODDS) * np.sqrt(squares))

    def _term(self, modality: Target | None) -> Values:
        return self._pooled if modality is None else self._known.get(modality, self._pooled)
