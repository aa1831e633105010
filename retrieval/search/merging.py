"""Merge the results of several modalities into hits: comparable scores, best first, with catalog data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from retrieval.errors import OptionError
from retrieval.search.calibration import ScoreDistribution, mean_distribution, percentile
from retrieval.search.modality_index import NO_ASSET, ResultArrays
from retrieval.storage.catalog import Catalog, Record
from retrieval.types import Hit


class ScoredAsset(NamedTuple):
    """One asset in a result; ``percentile`` as in ``Hit``."""

    score: float
    percentile: float | None
    asset: int


def merge_modalities(
    results: Sequence[ResultArrays], backgrounds: Sequence[Sequence[ScoreDistribution | None]]
) -> list[list[ScoredAsset]]:
    """Return the results of each query, one modality after the other.

    Scores of several modalities are made comparable: each is replaced by the score that is equally rare in the mean of
    their backgrounds (quantile normalisation, Bolstad et al. 2003). This keeps the order within a modality, and keeps
    the scores if there is only one modality. Among irrelevant results, every modality gets the share that it has in the
    index.

    Args:
        results: of each modality, for the same q queries.
        backgrounds: of each modality, the q distributions that ``calibration.Backgrounds.distributions`` returns.
    """
    common = [
        mean_distribution(by_modality) if len(results) > 1 else None
        for by_modality in zip(*backgrounds, strict=True)
    ]
    answers: list[list[ScoredAsset]] = [[] for _ in common]
    for arrays, distributions in zip(results, backgrounds, strict=True):
        columns = zip(
            arrays.scores.tolist(), arrays.assets.tolist(), distributions, common, answers, strict=True
        )
        for scores, assets, distribution, shared, answer in columns:
            answer += [
                _scored_asset(score, asset, distribution, shared)
                for score, asset in zip(scores, assets, strict=True)
                if asset != NO_ASSET
            ]
    return answers


def _scored_asset(
    score: float, asset: int, distribution: ScoreDistribution | None, common: ScoreDistribution | None
) -> ScoredAsset:
    if distribution is None:
        return ScoredAsset(score, None, asset)
    log_odds = distribution.log_odds(score)
    return ScoredAsset(score if common is None else common.score_at(log_odds), percentile(log_odds), asset)


def to_hits(catalog: Catalog, answers: Sequence[Sequence[ScoredAsset]], k: int) -> list[list[Hit]]:
    """Return the best ``k`` results of each query as hits; ties by item id."""
    records = catalog.records(scored.asset for answer in answers for scored in answer)
    lists = []
    for answer in answers:
        ordered = sorted(answer, key=lambda scored: (-scored.score, records[scored.asset].item))[:k]
        lists.append([_hit(rank, scored, records[scored.asset]) for rank, scored in enumerate(ordered, 1)])
    return lists


def _hit(rank: int, scored: ScoredAsset, record: Record) -> Hit:
    return Hit(rank, scored.score, *record[1:], scored.asset, scored.percentile)


def above_percentile(answer: Sequence[ScoredAsset], least: float | None) -> list[ScoredAsset]:
    """Return the results whose percentile is at least ``least``; all when None.

    Raises:
        OptionError: the index does not store the distribution of its scores.
    """
    if least is None:
        return list(answer)
    if any(scored.percentile is None for scored in answer):
        raise OptionError(
            "min_percentile needs the score distribution that an index of about five or more items stores: "
            "run 'xmodal index' again if an older version wrote the index, or leave min_percentile out"
        )
    return [scored for scored in answer if scored.percentile is not None and scored.percentile >= least]
