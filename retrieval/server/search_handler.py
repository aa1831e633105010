"""From a query as it came to the answer as it goes: encode the terms, search, say why."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

from starlette.datastructures import UploadFile

from retrieval.errors import OptionError
from retrieval.server.api_models import File, Like, Point, SearchIn, Words
from retrieval.server.open_generation import OpenGeneration, SearchRequest
from retrieval.server.urls import asset_urls
from retrieval.types import Hit, Matrix, Modality, Query, Term


async def search(opened: OpenGeneration, wanted: SearchIn, files: Mapping[str, UploadFile]) -> dict[str, Any]:
    """The answer to a query, as ``SearchOut`` describes it.

    Made of plain values, for under load the models would take as long as the search.

    Raises:
        XmodalError: as ``SearchEngine.search``; ``BusyError`` if too many wait already.
    """
    start = perf_counter()
    targets = opened.engine.targets(wanted.to, {term.kind for term in wanted.terms})
    to = wanted.to or str(targets[0])
    terms = list(await asyncio.gather(*(_term(opened, term, files) for term in wanted.terms)))
    query = Query(
        vector=[term for term in terms if term.kind == "vector"],
        id=[term for term in terms if term.kind == "id"],
    )
    hits = await opened.search(
        SearchRequest(query, to, wanted.k, wanted.where or None, wanted.min_percentile)
    )
    # The engine has the terms by kind, who asked in the order they came.
    order = {id(term): at for at, term in enumerate(query.terms())}
    places = [order[id(term)] for term in terms]
    return {
        "hits": [{**hit.as_dict(), **asset_urls(hit), "contributions": _shares(hit, places)} for hit in hits],
        "to": to,
        "milliseconds": round(1000 * (perf_counter() - start), 3),
    }


def _shares(hit: Hit, places: Sequence[int]) -> list[float]:
    """What the terms add to the hit's score, those at these places."""
    shares = (hit.score,) if hit.contributions is None else hit.contributions
    return [shares[at] for at in places]


async def vectors(
    opened: OpenGeneration, terms: Sequence[Words | File], files: Mapping[str, UploadFile]
) -> list[Matrix]:
    """The terms in the aligned space, each (d,) float32 of unit norm.

    Raises:
        XmodalError: as ``search``.
    """
    return list(await asyncio.gather(*(_vector(opened, term, files) for term in terms)))


async def _term(
    opened: OpenGeneration, term: Words | Like | Point | File, files: Mapping[str, UploadFile]
) -> Term:
    """The term with its medium as a vector; ids and vectors as they are."""
    if isinstance(term, Like | Point):
        return Term(term.kind, term.value, term.weight)
    return Term("vector", await _vector(opened, term, files), term.weight, Modality(term.kind))


async def _vector(opened: OpenGeneration, term: Words | File, files: Mapping[str, UploadFile]) -> Matrix:
    lane = opened.lane(Modality(term.kind))
    if isinstance(term, Words):
        return await lane.words(term.value)
    if term.upload not in files:
        raise OptionError(f"the form holds no file in a part named {term.upload!r}")
    return await lane.file(files[term.upload])
