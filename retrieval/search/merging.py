"""What was found of each modality becomes hits: on one scale, best first, with what the catalog says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from retrieval.errors import OptionError
from retrieval.search.calibration import Curve, mean_of, percentile
from retrieval.search.modality_index import NO_ASSET, ResultArrays
from retrieval.storage.catalog import Catalog, Record
from retrieval.types import Hit


class ScoredAsset(NamedTuple):
    """One asset that was found; ``percentile`` as ``Hit`` has it."""

    score: float
    percentile: float | None
    asset: int


def merge_modalities(
    found: Sequence[ResultArrays], backgrounds: Sequence[Sequence[Curve | None]]
) -> list[list[ScoredAsset]]:
    """The answers to each query, those of one modality after those of another.

    Scores of several modalities become comparable: each is replaced by that which is as rare in the mean of their
    backgrounds (quantile normalisation, Bolstad et al. 2003). So the order within a modality stays, the scores of
    one modality alone stay altogether, and in a list of what is irrelevant every modality has the share that it has
    in the index.

    Args:
        found: in each modality, for the same q queries.
        backgrounds: of each modality, q curves as ``calibration.Backgrounds.of`` gives them.
    """
    common = [mean_of(own) if len(found) > 1 else None for own in zip(*backgrounds, strict=True)]
    answers: list[list[ScoredAsset]] = [[] for _ in common]
    for one, curves in zip(found, backgrounds, strict=True):
        columns = zip(one.scores.tolist(), one.assets.tolist(), curves, common, answers, strict=True)
        for scores, assets, curve, shared, answer in columns:
            answer += [
                _answer(score, asset, curve, shared)
                for score, asset in zip(scores, assets, strict=True)
                if asset != NO_ASSET
            ]
    return answers


def _answer(score: float, asset: int, curve: Curve | None, common: Curve | None) -> ScoredAsset:
    if curve is None:
        return ScoredAsset(score, None, asset)
    odds = curve.log_odds(score)
    return ScoredAsset(score if common is None else common.score_at(odds), percentile(odds), asset)


def to_hits(catalog: Catalog, answers: Sequence[Sequence[ScoredAsset]], k: int) -> list[list[Hit]]:
    """The best ``k`` answers to each query as hits; ties by item id."""
    records = catalog.records(answer.asset for own in answers for answer in own)
    lists = []
    for own in answers:
        ordered = sorted(own, key=lambda answer: (-answer.score, records[answer.asset].item))[:k]
        lists.append([_hit(rank, answer, records[answer.asset]) for rank, answer in enumerate(ordered, 1)])
    return lists


def _hit(rank: int, answer: ScoredAsset, record: Record) -> Hit:
    return Hit(rank, answer.score, *record[1:], answer.asset, answer.percentile)


def above_percentile(answers: Sequence[ScoredAsset], least: float | None) -> list[ScoredAsset]:
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
