"""The queries that went best and worst, with what they are and what they found, to be looked at."""

from __future__ import annotations

import base64
import io
import mimetypes
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import select

from retrieval import media
from retrieval.engine import SearchEngine
from retrieval.errors import MediaError
from retrieval.evaluation import Outcome
from retrieval.schema import Asset
from retrieval.trial import Trial
from retrieval.types import Integers, Modality

SHOWN = 5
RESULTS = 3
THUMBNAIL = (192, 192)
PLAYED = {Modality.AUDIO: 1_000_000, Modality.VIDEO: 4_000_000}
"""Bytes up to which a sound or video goes into the page."""


@dataclass(frozen=True, slots=True)
class Medium:
    """An asset as the page shows it.

    Attributes:
        id: its item's.
        modality: of the asset.
        text: a caption; None for a file.
        path: of the file, in its source.
        data: the file as a ``data:`` address, a picture scaled down; None where it cannot be shown.
        problem: why not.
    """

    id: str
    modality: Modality
    text: str | None
    path: str | None
    data: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One query.

    Attributes:
        query: who asked.
        rank: of the first relevant asset; None if none was found.
        wanted: that asset, or another relevant one; None where the pool has none.
        results: what came first, and whether each is relevant.
    """

    query: Medium
    rank: int | None
    wanted: Medium | None
    results: list[tuple[Medium, bool]]


def best_and_worst(outcome: Outcome) -> tuple[list[Exhibit], list[Exhibit]]:
    """Of the queries with a relevant asset those whose first one ranks highest, and lowest; ties by id."""
    trial = outcome.trial
    asked = np.flatnonzero(outcome.ranks.relevant[: len(trial.asking)] > 0)
    ranks = outcome.ranks.first[asked]
    best = asked[np.argsort(ranks, kind="stable")[:SHOWN]]
    worst = np.setdiff1d(asked[np.argsort(-ranks, kind="stable")[:SHOWN]], best, assume_unique=True)
    worst = worst[np.argsort(-outcome.ranks.first[worst], kind="stable")]
    return _exhibits(outcome, best), _exhibits(outcome, worst)


def _exhibits(outcome: Outcome, chosen: Integers) -> list[Exhibit]:
    trial = outcome.trial
    queries, pool = trial.vectors()
    exhibits = []
    for query in chosen.tolist():
        scores = pool @ queries[query]
        itself = int(trial.relevance.query_rows[query])
        if itself >= 0:
            scores[itself] = -np.inf
        _, columns, _ = trial.relevance.pairs(slice(query, query + 1))
        order = np.argsort(-scores, kind="stable")[:RESULTS]
        wanted = columns[np.argsort(-scores[columns], kind="stable")[:1]]
        shown = _media(trial, query, np.concatenate([wanted, order]))
        first = outcome.ranks.first[query]
        exhibits.append(
            Exhibit(
                shown[0],
                int(first) if np.isfinite(first) else None,
                shown[1] if len(wanted) else None,
                list(zip(shown[1 + len(wanted) :], np.isin(order, columns).tolist(), strict=True)),
            )
        )
    return exhibits


def _media(trial: Trial, query: int, columns: Integers) -> list[Medium]:
    """The query, and the pool's assets at ``columns``."""
    asks = int(trial.queries.table.assets[trial.asking[query]])
    found = trial.pool.table.assets[trial.asked[columns]].tolist()
    return _described(trial.engine, [asks, *found])


def _described(engine: SearchEngine, assets: Iterable[int]) -> list[Medium]:
    numbers = list(assets)
    records = engine.catalog.records(numbers)
    with engine.catalog.session() as session:
        statement = select(Asset.id, Asset.source).where(Asset.id.in_(numbers))
        sources = {number: source for number, source in session.execute(statement)}  # noqa: C416
    shown = []
    for number in numbers:
        record = records[number]
        medium = Medium(record.item, record.modality, record.text, record.path)
        if record.text is None:
            data, problem = _embedded(_file(engine, sources[number], record.path), record.modality)
            medium = Medium(record.item, record.modality, None, record.path, data, problem)
        shown.append(medium)
    return shown


def _file(engine: SearchEngine, source: int | None, path: str | None) -> Path | None:
    """Where the file was when it was indexed."""
    roots = engine.manifest.sources
    if path is None or source is None or source >= len(roots):
        return None
    root = Path(roots[source])
    return (root if root.is_dir() else root.parent) / path


def _embedded(file: Path | None, modality: Modality) -> tuple[str | None, str | None]:
    """The file as a ``data:`` address, or why there is none."""
    if file is None or not file.is_file():
        return None, "the file is not where it was indexed"
    if modality is Modality.IMAGE:
        return _thumbnail(file)
    if file.stat().st_size > PLAYED[modality]:
        return None, "the file is too large for this page"
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return _address(kind, file.read_bytes()), None


def _thumbnail(file: Path) -> tuple[str | None, str | None]:
    try:
        picture = media.picture(file)
    except MediaError as error:
        return None, str(error)
    picture.thumbnail(THUMBNAIL)
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=85)
    return _address("image/jpeg", buffer.getvalue()), None


def _address(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
