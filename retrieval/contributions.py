"""Why a hit was found: what each term of the query adds to its score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrieval import meaning
from retrieval.engine import SearchEngine
from retrieval.types import Hit, Target, Term


def contributions(engine: SearchEngine, terms: Sequence[Term], hits: Sequence[Hit]) -> list[list[float]]:
    """What each term adds to each hit's score; together they are the score.

    A query's vector is the weighted sum of its terms' vectors v_i made a unit, and so the score of a hit x is
    the sum over the terms of w_i <v_i, x> / |sum w_j v_j|. What an approximate index's score differs from
    that by is spread over the terms evenly.

    Args:
        engine: the index that gave the hits.
        terms: the query's.
        hits: answers to it.

    Returns:
        For each hit as many numbers as there are terms, in their order.
    """
    if len(terms) == 1:
        return [[hit.score] for hit in hits]
    found: dict[int, list[float]] = {}
    for modality in dict.fromkeys(hit.modality for hit in hits):
        some = [hit for hit in hits if hit.modality == modality and hit.asset is not None]
        shares = _shares(engine, terms, [int(hit.asset or 0) for hit in some], modality)
        scores = np.array([hit.score for hit in some])
        shares += ((scores - shares.sum(axis=1)) / len(terms))[:, None]
        found |= {int(hit.asset or 0): row for hit, row in zip(some, shares.tolist(), strict=True)}
    return [found[int(hit.asset or 0)] for hit in hits]


def _shares(
    engine: SearchEngine, terms: Sequence[Term], assets: Sequence[int], modality: Target
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(assets, terms) float64."""
    vectors = np.concatenate([meaning.vectors(engine, term.kind, [term], modality) for term in terms])
    weighted = vectors * np.array([term.weight for term in terms], np.float32)[:, None]
    shelf = engine.shelf(modality)
    rows = shelf.rows_of(assets)
    place = {int(asset): at for at, asset in enumerate(shelf.assets[rows])}
    held = shelf.index.vectors(rows)[[place[asset] for asset in assets]]
    shares = held.astype(np.float64) @ (weighted / np.linalg.norm(weighted.sum(axis=0))).T.astype(np.float64)
    return shares.reshape(len(assets), len(terms))
