"""What was found of each modality becomes hits: on one scale, best first, with what the catalog says of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from retrieval.calibration import Values, log_odds, percentiles, scores_at
from retrieval.catalog import Catalog, Record
from retrieval.errors import OptionError
from retrieval.shelf import NOBODY, Found
from retrieval.types import Hit


class Answer(NamedTuple):
    """One asset that was found; ``percentile`` as ``Hit`` has it."""

    score: float
    percentile: float | None
    asset: int


def merged(found: Sequence[Found], backgrounds: Sequence[Values]) -> list[list[Answer]]:
    """The answers to each query, those of one modality after those of another.

    Scores of several modalities become comparable: each is replaced by that which is as rare in the mean of their
    backgrounds (quantile normalisation, Bolstad et al. 2003). So the order within a modality stays, the scores of
    one modality alone stay altogether, and in a list of what is irrelevant every modality has the share that it has
    in the index.

    Args:
        found: in each modality, for the same q queries.
        backgrounds: of each modality, (q, 13) as ``calibration.Backgrounds.of`` gives them.
    """
    odds = [log_odds(own.scores, background) for own, background in zip(found, backgrounds, strict=True)]
    scores = [own.scores for own in found]
    if len(found) > 1:
        common = np.mean(backgrounds, axis=0)
        known = ~np.isnan(common[:, :1])
        scores = [np.where(known, scores_at(own, common), raw) for own, raw in zip(odds, scores, strict=True)]
    answers: list[list[Answer]] = [[] for _ in found[0].scores]
    for one, own, its_odds in zip(found, scores, odds, strict=True):
        columns = (own.tolist(), percentiles(its_odds).tolist(), one.assets.tolist())
        for answer, *rows in zip(answers, *columns, strict=True):
            answer += [
                Answer(score, None if math.isnan(share) else share, asset)
                for score, share, asset in zip(*rows, strict=True)
                if asset != NOBODY
            ]
    return answers


def joined(catalog: Catalog, answers: Sequence[Sequence[Answer]], k: int) -> list[list[Hit]]:
    """The best ``k`` answers to each query as hits; ties by item id."""
    records = catalog.records(answer.asset for own in answers for answer in own)
    lists = []
    for own in answers:
        ordered = sorted(own, key=lambda answer: (-answer.score, records[answer.asset].item))[:k]
        lists.append([_hit(rank, answer, records[answer.asset]) for rank, answer in enumerate(ordered, 1)])
    return lists


def _hit(rank: int, answer: Answer, record: Record) -> Hit:
    return Hit(rank, answer.score, *record[1:], answer.asset, answer.percentile)


def at_least(answers: Sequence[Answer], least: float | None) -> list[Answer]:
    """Those of the answers whose percentile is at least that.

    Raises:
        OptionError: the index does not say how its scores are distributed.
    """
    if least is None:
        return list(answers)
    if any(answer.percentile is None for answer in answers):
        raise OptionError(
            "min_percentile needs the background of scores that an index of at least some five items keeps: "
            "run 'xmodal index' on it again if an older version wrote it, or leave min_percentile out"
        )
    return [answer for answer in answers if answer.percentile is not None and answer.percentile >= least]
