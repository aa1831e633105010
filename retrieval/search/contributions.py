"""Score contributions: what each term of a query adds to the score of a hit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from retrieval.search.index_reader import IndexReader
from retrieval.search.modality_index import ModalityIndex
from retrieval.search.query_composition import ComposedQueries
from retrieval.types import Hit, Matrix, Target


def add_contributions(
    index: IndexReader, composed: Mapping[Target, ComposedQueries], answers: Sequence[Sequence[Hit]]
) -> list[list[Hit]]:
    """Return the hits; those of queries with several terms have contributions, in the order of ``Query.terms``.

    Args:
        index: the index that returned the hits.
        composed: the queries, by target.
        answers: the hits of each query.
    """
    out = [list(hits) for hits in answers]
    for target, queries in composed.items():
        positions = {
            number: [position for position, hit in enumerate(hits) if hit.modality == target]
            for number, hits in enumerate(out)
            if queries.parts[number] is not None
        }
        # For the whole batch at once, because every lookup scans all rows of the index.
        rows = _rows(
            index.modality_index(target),
            {
                out[number][position].asset
                for number, query_positions in positions.items()
                for position in query_positions
            },
        )
        for number, query_positions in positions.items():
            parts = queries.parts[number]
            if parts is None or not query_positions:
                continue
            hits = [out[number][position] for position in query_positions]
            vectors = index.modality_index(target).index.vectors(np.array([rows[hit.asset] for hit in hits]))
            contributions = _split_scores(parts, vectors, hits)
            for position, hit, values in zip(query_positions, hits, contributions, strict=True):
                out[number][position] = replace(hit, contributions=tuple(values))
    return out


def _rows(modality_index: ModalityIndex, assets: Collection[int | None]) -> dict[int | None, int]:
    """Return the row of each asset."""
    rows = modality_index.rows_of([asset for asset in assets if asset is not None])
    return dict(zip(modality_index.assets[rows].tolist(), rows.tolist(), strict=True))


def _split_scores(parts: Matrix, vectors: Matrix, hits: Sequence[Hit]) -> list[list[float]]:
    """Split the score of each hit among the terms.

    A query's vector is the weighted sum of its terms' vectors v_i, scaled to unit length. The score of a hit x is thus
    the sum over the terms of w_i <v_i, x> / |sum w_j v_j|. The score of an approximate index, or one made comparable
    with others, differs from this sum; the difference is spread evenly over the terms.

    Args:
        parts: (t, d), one row per term.
        vectors: (n, d) of the hits.
        hits: n of them.
    """
    shares = vectors.astype(np.float64) @ parts.T.astype(np.float64)
    scores = np.array([hit.score for hit in hits])
    shares += ((scores - shares.sum(axis=1)) / len(parts))[:, None]
    split: list[list[float]] = shares.tolist()
    return split
