"""Handle search requests: encode the terms, search, and add each term's contribution to the hits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

from starlette.datastructures import UploadFile

from retrieval.errors import OptionError
from retrieval.server.api_models import FileTerm, ItemTerm, SearchIn, TextTerm, VectorTerm
from retrieval.server.open_generation import OpenGeneration, SearchRequest
from retrieval.server.urls import asset_urls
from retrieval.types import Hit, Matrix, Modality, Query, Term


async def search(
    opened: OpenGeneration, request: SearchIn, files: Mapping[str, UploadFile]
) -> dict[str, Any]:
    """Return the answer to a query, in the shape of ``SearchOut``.

    It consists of plain values: under load, building the pydantic models would take as long as the search.

    Raises:
        XmodalError: as ``SearchEngine.search``; ``BusyError`` if too many requests are waiting already.
    """
    start = perf_counter()
    targets = opened.engine.targets(request.to, {term.kind for term in request.terms})
    to = request.to or str(targets[0])
    terms = list(await asyncio.gather(*(_encode_term(opened, term, files) for term in request.terms)))
    query = Query(
        vector=[term for term in terms if term.kind == "vector"],
        id=[term for term in terms if term.kind == "id"],
    )
    hits = await opened.search(
        SearchRequest(query, to, request.k, request.where or None, request.min_percentile)
    )
    # The engine orders the terms by kind; the client gets the contributions in the order of its own terms.
    order = {id(term): at for at, term in enumerate(query.terms())}
    places = [order[id(term)] for term in terms]
    return {
        "hits": [
            {**hit.as_dict(), **asset_urls(hit), "contributions": _contributions(hit, places)} for hit in hits
        ],
        "to": to,
        "milliseconds": round(1000 * (perf_counter() - start), 3),
    }


def _contributions(hit: Hit, places: Sequence[int]) -> list[float]:
    """Return what the terms at these places of the engine's query add to the hit's score."""
    contributions = (hit.score,) if hit.contributions is None else hit.contributions
    return [contributions[at] for at in places]


async def encode(
    opened: OpenGeneration, terms: Sequence[TextTerm | FileTerm], files: Mapping[str, UploadFile]
) -> list[Matrix]:
    """Return the terms' vectors in the aligned space, each (d,) float32 of unit norm.

    Raises:
        XmodalError: as ``search``.
    """
    return list(await asyncio.gather(*(_encode_medium(opened, term, files) for term in terms)))


async def _encode_term(
    opened: OpenGeneration,
    term: TextTerm | ItemTerm | VectorTerm | FileTerm,
    files: Mapping[str, UploadFile],
) -> Term:
    """Return the engine's term: a text or file becomes a vector, ids and vectors stay as they are."""
    if isinstance(term, ItemTerm | VectorTerm):
        return Term(term.kind, term.value, term.weight)
    return Term("vector", await _encode_medium(opened, term, files), term.weight, Modality(term.kind))


async def _encode_medium(
    opened: OpenGeneration, term: TextTerm | FileTerm, files: Mapping[str, UploadFile]
) -> Matrix:
    queue = opened.encode_queue(Modality(term.kind))
    if isinstance(term, TextTerm):
        return await queue.text(term.value)
    if term.upload not in files:
        raise OptionError(f"the form has no file in a part named {term.upload!r}")
    return await queue.file(files[term.upload])
