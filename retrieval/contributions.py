"""Why a hit was found: what each term of the query adds to its score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from retrieval.terms import Composed
from retrieval.types import Hit, Matrix, Target, Term

if TYPE_CHECKING:
    from retrieval.engine import SearchEngine


def explained(
    engine: SearchEngine, composed: Mapping[Target, Composed], answers: Sequence[Sequence[Hit]]
) -> list[list[Hit]]:
    """The same hits; those of queries of several terms with what each term adds.

    Args:
        engine: the index that gave the hits.
        composed: the queries, where each target was looked for.
        answers: of each query.
    """
    out = [list(hits) for hits in answers]
    for at, hits in enumerate(out):
        parts = {target: own.parts[at] for target, own in composed.items()}
        known = {target: own for target, own in parts.items() if own is not None}
        if known and hits:
            shares = _split(engine, known, hits)
            out[at] = [replace(hit, contributions=tuple(own)) for hit, own in zip(hits, shares, strict=True)]
    return out


def contributions(engine: SearchEngine, terms: Sequence[Term], hits: Sequence[Hit]) -> list[list[float]]:
    """What each term adds to each hit's score; together they are the score.

    Args:
        engine: the index that gave the hits.
        terms: the query's.
        hits: answers to it.

    Returns:
        For each hit as many numbers as there are terms, in their order.
    """
    if len(terms) == 1:
        return [[hit.score] for hit in hits]
    parts = {}
    for target in dict.fromkeys(hit.modality for hit in hits):
        composed = engine.compose([terms], target)
        if composed.parts[0] is not None:
            parts[target] = composed.parts[0]
    return _split(engine, parts, hits)


def _split(engine: SearchEngine, parts: Mapping[Target, Matrix], hits: Sequence[Hit]) -> list[list[float]]:
    """Of each hit its score, split among the terms.

    A query's vector is the weighted sum of its terms' vectors v_i made a unit, and so the score of a hit x is
    the sum over the terms of w_i <v_i, x> / |sum w_j v_j|. What an approximate index's score differs from
    that by, or one made comparable with others, is spread over the terms evenly.
    """
    found: dict[int, list[float]] = {}
    for target, own in parts.items():
        some = [hit for hit in hits if hit.modality == target and hit.asset is not None]
        if some:
            shares = _shares(engine, own, [int(hit.asset or 0) for hit in some], target)
            scores = np.array([hit.score for hit in some])
            shares += ((scores - shares.sum(axis=1)) / len(own))[:, None]
            found |= {int(hit.asset or 0): row for hit, row in zip(some, shares.tolist(), strict=True)}
    return [found[int(hit.asset or 0)] for hit in hits]


def _shares(
    engine: SearchEngine, parts: Matrix, assets: Sequence[int], target: Target
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(assets, terms) float64."""
    shelf = engine.shelf(target)
    rows = shelf.rows_of(assets)
    place = {int(asset): at for at, asset in enumerate(shelf.assets[rows])}
    held = shelf.index.vectors(rows)[[place[asset] for asset in assets]]
    shares = held.astype(np.float64) @ parts.T.astype(np.float64)
    return shares.reshape(len(assets), len(parts))
