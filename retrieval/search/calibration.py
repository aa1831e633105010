"""Score calibration: how rare a score is among unrelated pairs, which makes scores comparable.

A cosine of 0.3 is high between words and pictures and low between two captions. For every pair of modalities the index
therefore stores the score distribution of pairs of different items, its background, as a few quantiles. The log-odds of
a score in this distribution mean the same for every query and target, and so does its percentile.

A score counts relative to the query's own mean score. This mean does not affect the order, but it is no sign of a match
either: with a hubness correction (``alignment.hubness``), the less a query resembles anything, the higher its mean is.
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

TermSource: TypeAlias = "tuple[Target | None, float]"
"""The modality of a query term, None if unknown, and the term's share of the query's unit vector."""

BACKGROUND = "centred_background"
"""Key of the backgrounds in a manifest's index entry. Versions that did not centre scores used another key."""

MIN_LOG_ODDS, LOG_ODDS_STEP = -9.0, 1.5

LOG_ODDS = np.arange(13) * LOG_ODDS_STEP + MIN_LOG_ODDS
"""Where a background is stored: log(p / (1 - p)) of the share p of pairs below, from 0.0001 to 0.9999."""

MIN_PAIRS = 20
"""Smallest number of pairs for a background."""

MIN_PAIRS_BEYOND = 2
"""Pairs that must lie beyond a quantile to measure it; quantiles further out are extrapolated."""

MAX_EXPONENT = 700.0
"""Largest exponent of e in float64, approximately."""

MIN_SCORE_STEP = 1e-4
"""Smallest score difference per step of log-odds, so that rounding does not decide when all scores are equal."""


def background_quantiles(scores: Values) -> Values | None:
    """Return a background's scores at ``LOG_ODDS``, (13,) float64, ascending; None if there are too few scores.

    Beyond the measured quantiles the log-odds continue in a straight line, as of an exponential tail.

    Args:
        scores: (n,) of pairs of different items, finite.
    """
    shares = 1 / (1 + np.exp(-LOG_ODDS))
    measurable = len(scores) * np.minimum(shares, 1 - shares) >= MIN_PAIRS_BEYOND
    if len(scores) < MIN_PAIRS or measurable.sum() < 2:
        return None
    measured = np.quantile(scores, shares[measurable])
    measured += MIN_SCORE_STEP * np.arange(len(measured))
    return _interpolate(measured, (LOG_ODDS - LOG_ODDS[measurable][0]) / LOG_ODDS_STEP)


def unrelated_pair_scores(
    queries: Matrix, query_items: Integers, rows: Matrix, media: Integers, row_items: Integers
) -> Values:
    """Return the scores of every query with every medium of another item, (n,) float64.

    A medium's score is that of its best row.

    Args:
        queries: (q, d) of unit norm.
        query_items: (q,) the item of each query.
        rows: (r, d) of unit norm; rows of the same medium are adjacent.
        media: (r,) the medium of each row.
        row_items: (r,) the item of each row.
    """
    starts = np.flatnonzero(np.r_[True, media[1:] != media[:-1]]) if len(media) else np.empty(0, np.int64)
    best = (
        np.maximum.reduceat(queries @ rows.T, starts, axis=1) if len(starts) else np.empty((len(queries), 0))
    )
    unrelated = query_items[:, None] != row_items[starts][None]
    return np.asarray(best[unrelated], np.float64)


class ScoreDistribution(NamedTuple):
    """Score distribution of unrelated pairs for one query.

    Attributes:
        scores: 13 scores relative to the query's mean score, ascending, at ``LOG_ODDS``.
        mean: the query's mean score.
    """

    scores: Sequence[float]
    mean: float

    # Plain Python numbers: a query has ten scores, and NumPy functions cost as much for ten as for a thousand.

    def log_odds(self, score: float) -> float:
        """Return the log-odds of the share of scores below; strictly increasing with the score."""
        scores, value = self.scores, score - self.mean
        step = bisect_left(scores, value, 1, len(scores) - 1) - 1
        low = scores[step]
        return MIN_LOG_ODDS + LOG_ODDS_STEP * (step + (value - low) / (scores[step + 1] - low))

    def score_at(self, log_odds: float) -> float:
        """Return the score with these log-odds, the inverse of ``log_odds``."""
        scores, position = self.scores, (log_odds - MIN_LOG_ODDS) / LOG_ODDS_STEP
        step = min(max(int(position), 0), len(scores) - 2)
        low = scores[step]
        return self.mean + low + (position - step) * (scores[step + 1] - low)


def percentile(log_odds: float) -> float:
    """Return the share of unrelated pairs with lower scores, in percent."""
    return 100 / (1 + math.exp(min(-log_odds, MAX_EXPONENT)))


def mean_distribution(distributions: Sequence[ScoreDistribution | None]) -> ScoreDistribution | None:
    """Return the distribution whose score at any log-odds is the mean of theirs; None if one of them is unknown."""
    known = [distribution for distribution in distributions if distribution is not None]
    if len(known) < len(distributions):
        return None
    columns = zip(*(distribution.scores for distribution in known), strict=True)
    scores = [sum(column) / len(known) for column in columns]
    return ScoreDistribution(scores, sum(distribution.mean for distribution in known) / len(known))


def _interpolate(values: Values, positions: Values) -> Values:
    """Interpolate ascending numbers at real-valued positions; extrapolate from the two outermost ones."""
    step = positions.astype(np.int64).clip(0, len(values) - 2)
    interpolated: Values = values[step] + (positions - step) * (values[step + 1] - values[step])
    return interpolated


class Backgrounds:
    """The backgrounds of one target modality, by the modality of the query."""

    def __init__(self, quantiles: Mapping[str, Sequence[float]], centre: Matrix | None = None) -> None:
        """Store what the index contains.

        Args:
            quantiles: by query modality, 13 scores relative to the query's mean; empty if the index stores none.
            centre: (d,) the mean of the target's vectors; None if it is zero.
        """
        self._quantiles = {name: np.array(values) for name, values in quantiles.items()}
        self._pooled = np.mean(list(self._quantiles.values()), axis=0) if quantiles else np.empty(0)
        self._centre = centre

    def distributions(
        self, queries: Sequence[Sequence[TermSource]], vectors: Matrix
    ) -> list[ScoreDistribution | None]:
        """Return the score distribution of each query; None if none is stored.

        A query of one term has the background of its modality; for a term of unknown modality, the mean of all
        backgrounds. The score of a composed query is the sum of its terms' scores. The medians are added, and the
        deviations from them combine like those of independent numbers. A negative term counts from the other end.

        Args:
            queries: the terms of each query.
            vectors: (q, d) the composed query vectors.
        """
        if not self._quantiles:
            return [None] * len(queries)
        means = [0.0] * len(queries) if self._centre is None else (vectors @ self._centre).tolist()
        return [
            ScoreDistribution(self._query_quantiles(terms).tolist(), mean)
            for terms, mean in zip(queries, means, strict=True)
        ]

    def _query_quantiles(self, terms: Sequence[TermSource]) -> Values:
        if len(terms) == 1 and terms[0][1] == 1:
            return self._term_quantiles(terms[0][0])
        middle = len(LOG_ODDS) // 2
        scaled = [
            share * self._term_quantiles(modality)[:: 1 if share >= 0 else -1] for modality, share in terms
        ]
        medians = sum(quantiles[middle] for quantiles in scaled)
        squares = sum((quantiles - quantiles[middle]) ** 2 for quantiles in scaled)
        return np.asarray(medians + np.sign(LOG_ODDS) * np.sqrt(squares))

    def _term_quantiles(self, modality: Target | None) -> Values:
        return self._pooled if modality is None else self._quantiles.get(modality, self._pooled)
