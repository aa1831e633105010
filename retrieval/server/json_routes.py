"""The addresses that answer with JSON."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import generate_latest
from pydantic_core import to_json
from starlette.convertors import PathConvertor, register_url_convertor

from retrieval.evaluation.bootstrap import Resampling
from retrieval.evaluation.evaluate import evaluate as measure
from retrieval.server import index_info, search_handler, uploads
from retrieval.server.api_models import (
    EncodeIn,
    EncodeOut,
    EvaluateIn,
    EvaluateOut,
    HealthOut,
    InfoOut,
    ItemOut,
    SearchIn,
    SearchOut,
)
from retrieval.server.error_responses import declared
from retrieval.server.service import Service

JSON = "application/json"


class _AnyText(PathConvertor):
    """The rest of the address, line breaks too, which ids may hold."""

    regex = "(?s:.*)"


register_url_convertor("anytext", _AnyText())

router = APIRouter()


@router.post(
    "/api/search",
    response_model=SearchOut,
    responses=declared(404, 413, 422, 503),
    openapi_extra=uploads.described(SearchIn),
)
async def search(request: Request) -> Response:
    """Find what is nearest to a query of words, items, vectors and uploaded media."""
    service = Service.of(request)
    async with uploads.received(request, SearchIn) as (wanted, files), service.library.reading() as opened:
        found = await search_handler.search(opened, wanted, files)
    return Response(to_json(found), media_type=JSON)


@router.post(
    "/api/encode",
    response_model=EncodeOut,
    responses=declared(404, 413, 422, 503),
    openapi_extra=uploads.described(EncodeIn),
)
async def encode(request: Request) -> Response:
    """Words and uploaded media as vectors of the aligned space."""
    service = Service.of(request)
    async with uploads.received(request, EncodeIn) as (wanted, files), service.library.reading() as opened:
        vectors = await search_handler.vectors(opened, wanted.terms, files)
    return Response(to_json({"vectors": [vector.tolist() for vector in vectors]}), media_type=JSON)


@router.get("/api/items/{key:anytext}", responses=declared(404, 422, 503))
async def item(request: Request, key: str) -> ItemOut:
    """An item with its metadata and all its assets."""
    service = Service.of(request)
    async with service.library.reading() as opened:
        return await service.workers.reading(partial(index_info.item, opened.engine, key))


@router.get("/api/info", responses=declared(503))
async def info(request: Request) -> InfoOut:
    """What the index holds, what can be filtered on, and what made it."""
    service = Service.of(request)
    async with service.library.reading() as opened:
        return opened.info


@router.post("/api/evaluate", response_model=EvaluateOut, responses=declared(413, 422, 503))
async def evaluate(request: Request, wanted: EvaluateIn) -> Response:
    """Measure retrieval, as ``xmodal evaluate --json`` does; one at a time."""
    service = Service.of(request)
    options = wanted.model_dump(exclude={"resamples", "seed"})
    resampling = Resampling(wanted.resamples, wanted.seed)
    async with service.library.reading() as opened:
        result = await service.workers.evaluating(
            partial(measure, opened.engine, **options, resampling=resampling)
        )
        body = await service.workers.reading(lambda: json.dumps(result.as_dict()))
    return Response(body, media_type=JSON)


@router.get("/api/health", responses=declared())
async def health(request: Request) -> HealthOut:
    """Whether the server answers, and from which generation."""
    library = Service.of(request).library
    async with library.reading() as opened:
        status: Any = "stale" if library.problem else "ok"
        return HealthOut(status=status, generation=opened.generation, problem=library.problem)


@router.get("/metrics", response_class=PlainTextResponse, responses=declared())
async def metrics(request: Request) -> Response:
    """The server's figures, for Prometheus."""
    return PlainTextResponse(generate_latest(Service.of(request).metrics.registry))
