"""Routes that answer with JSON, and the Prometheus metrics."""

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
from retrieval.server.error_responses import documented
from retrieval.server.service import Service

JSON = "application/json"


class _AnyText(PathConvertor):
    """The rest of the path including line breaks, which ids may contain."""

    regex = "(?s:.*)"


register_url_convertor("anytext", _AnyText())

router = APIRouter()


@router.post(
    "/api/search",
    response_model=SearchOut,
    responses=documented(404, 413, 422, 503),
    openapi_extra=uploads.request_body(SearchIn),
)
async def search(request: Request) -> Response:
    """Find what is most similar to a query of texts, items, vectors and uploaded files."""
    service = Service.of(request)
    async with uploads.parsed_request(request, SearchIn) as (query, files), service.index.reading() as opened:
        answer = await search_handler.search(opened, query, files)
    return Response(to_json(answer), media_type=JSON)


@router.post(
    "/api/encode",
    response_model=EncodeOut,
    responses=documented(404, 413, 422, 503),
    openapi_extra=uploads.request_body(EncodeIn),
)
async def encode(request: Request) -> Response:
    """Encode texts and uploaded files as vectors of the aligned space."""
    service = Service.of(request)
    async with uploads.parsed_request(request, EncodeIn) as (query, files), service.index.reading() as opened:
        vectors = await search_handler.encode(opened, query.terms, files)
    return Response(to_json({"vectors": [vector.tolist() for vector in vectors]}), media_type=JSON)


@router.get("/api/items/{key:anytext}", responses=documented(404, 422, 503))
async def item(request: Request, key: str) -> ItemOut:
    """Return an item with its metadata and all its assets."""
    service = Service.of(request)
    async with service.index.reading() as opened:
        return await service.pools.reading(partial(index_info.describe_item, opened.engine, key))


@router.get("/api/info", responses=documented(503))
async def info(request: Request) -> InfoOut:
    """Return what the index contains, the columns for filters, and how it was built."""
    service = Service.of(request)
    async with service.index.reading() as opened:
        return opened.info


@router.post("/api/evaluate", response_model=EvaluateOut, responses=documented(413, 422, 503))
async def evaluate(request: Request, evaluation: EvaluateIn) -> Response:
    """Measure retrieval quality, as ``xmodal evaluate --json`` does; one evaluation at a time."""
    service = Service.of(request)
    options = evaluation.model_dump(exclude={"resamples", "seed"})
    resampling = Resampling(evaluation.resamples, evaluation.seed)
    async with service.index.reading() as opened:
        result = await service.pools.evaluating(
            partial(measure, opened.engine, **options, resampling=resampling)
        )
        body = await service.pools.reading(lambda: json.dumps(result.as_dict()))
    return Response(body, media_type=JSON)


@router.get("/api/health", responses=documented())
async def health(request: Request) -> HealthOut:
    """Return whether the server is up, and which generation of the index it serves."""
    index = Service.of(request).index
    async with index.reading() as opened:
        status: Any = "stale" if index.problem else "ok"
        return HealthOut(status=status, generation=opened.generation, problem=index.problem)


@router.get("/metrics", response_class=PlainTextResponse, responses=documented())
async def metrics(request: Request) -> Response:
    """Return the server's metrics in the Prometheus text format."""
    return PlainTextResponse(generate_latest(Service.of(request).metrics.registry))
