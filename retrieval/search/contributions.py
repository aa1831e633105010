"""Why a hit was found: what each term of the query adds to its score."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from retrieval.search.index_reader import IndexReader
from retrieval.search.modality_index import ModalityIndex
from retrieval.search.query_composition import ComposedQueries
from retrieval.types import Hit, Matrix, Target


def with_contributions(
    index: IndexReader, composed: Mapping[Target, ComposedQueries], answers: Sequence[Sequence[Hit]]
) -> list[list[Hit]]:
    """The same hits; those of queries of several terms with what each term adds, in the order of ``Query.terms``.

    Args:
        index: the index that gave the hits.
        composed: the queries, where each target was looked for.
        answers: of each query.
    """
    out = [list(hits) for hits in answers]
    for target, own in composed.items():
        places = {
            at: [nth for nth, hit in enumerate(hits) if hit.modality == target]
            for at, hits in enumerate(out)
            if own.parts[at] is not None
        }
        # Of the whole batch at once: every look goes over all that the index holds.
        rows = _rows(
            index.modality_index(target), {out[at][nth].asset for at, some in places.items() for nth in some}
        )
        for at, some in places.items():
            parts = own.parts[at]
            if parts is None or not some:
                continue
            hits = [out[at][nth] for nth in some]
            vectors = index.modality_index(target).index.vectors(np.array([rows[hit.asset] for hit in hits]))
            for nth, hit, shares in zip(some, hits, _split(parts, vectors, hits), strict=True):
                out[at][nth] = replace(hit, contributions=tuple(shares))
    return out


def _rows(modality_index: ModalityIndex, assets: Collection[int | None]) -> dict[int | None, int]:
    """Where each of these assets stands."""
    rows = modality_index.rows_of([asset for asset in assets if asset is not None])
    return dict(zip(modality_index.assets[rows].tolist(), rows.tolist(), strict=True))


def _split(parts: Matrix, vectors: Matrix, hits: Sequence[Hit]) -> list[list[float]]:
    """Of each hit its score, split among the terms.

    A query's vector is the weighted sum of its terms' vectors v_i made a unit, and so the score of a hit x is
    the sum over the terms of w_i <v_i, x> / |sum w_j v_j|. What an approximate index's score differs from
    that by, or one made comparable with others, is spread over the terms evenly.

    Args:
        parts: (t, d), one a term.
        vectors: (n, d) of the hits.
        hits: n of them.
    """
    shares = vectors.astype(np.float64) @ parts.T.astype(np.float64)
    scores = np.array([hit.score for hit in hits])
    shares += ((scores - shares.sum(axis=1)) / len(parts))[:, None]
    split: list[list[float]] = shares.tolist()
    return split
