"""The server's ASGI application."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from retrieval.search.engine import SearchEngine
from retrieval.server import error_responses, json_routes, media_routes, static_page
from retrieval.server.api_models import EncodeIn, SearchIn
from retrieval.server.body_limit import BodyLimit
from retrieval.server.disk_cache import DiskCache
from retrieval.server.metrics_middleware import MetricsMiddleware
from retrieval.server.prometheus import Metrics
from retrieval.server.reloading import ReloadingIndex
from retrieval.server.security import AccessControl, check_access, is_loopback
from retrieval.server.service import Service
from retrieval.server.thread_pools import ThreadPools
from retrieval.storage.layout import Layout
from retrieval.types import Modality

MAX_BYTES = 100 * 2**20
"""Default limit on the bytes of a request."""


class _DocumentedApi(FastAPI):
    """A FastAPI app that adds the schemas of bodies that are JSON or a form, which FastAPI does not find itself."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            schemas = super().openapi()["components"]["schemas"]
            template = "#/components/schemas/{model}"
            schemas |= models_json_schema(
                [(model, "validation") for model in (SearchIn, EncodeIn)], ref_template=template
            )[1]["$defs"]
        return self.openapi_schema or {}


def make(
    folder: str | os.PathLike[str],
    *,
    host: str = "127.0.0.1",
    token: str | None = None,
    device: str = "auto",
    runtime: str = "auto",
    encoders: Mapping[Modality | str, str] | None = None,
    roots: Sequence[Path] = (),
    origins: Sequence[str] = (),
    max_bytes: int = MAX_BYTES,
    pages: Path = static_page.BUILT_PAGE,
) -> FastAPI:
    """Return the ASGI application that serves the index in ``folder``; the index is opened at once.

    Args:
        folder: an index folder.
        host: the address that the server will listen on; it decides whether a token is required.
        token: access token that clients must send; None for none.
        device: as in ``retrieval.open``.
        runtime: as in ``retrieval.open``.
        encoders: as in ``retrieval.open``.
        roots: where the sources' files are now, one path for each source; if empty, where they were indexed.
        origins: origins whose web pages may use the API too; if empty, only the server's own page may.
        max_bytes: limit on the bytes of a request.
        pages: folder of the built page.

    Raises:
        OptionError: other machines could reach the server without a token, or the token is too weak.
        XmodalError: the index cannot be opened.
    """
    check_access(host, token)
    root, metrics, pools = Path(folder), Metrics(), ThreadPools()
    open_engine = partial(SearchEngine, root, device=device, runtime=runtime, encoders=encoders)
    index = ReloadingIndex(root, open_engine, roots=roots, pools=pools, metrics=metrics)
    thumbnails = DiskCache(Layout(root).cache)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await index.stop()
        pools.close()
        thumbnails.close()

    middleware = [
        Middleware(MetricsMiddleware, metrics=metrics),
        Middleware(AccessControl, loopback=is_loopback(host), token=token, cross_origin=bool(origins)),
        Middleware(BodyLimit, max_bytes=max_bytes),
    ]
    if origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )
        middleware.insert(1, cors)
    app = _DocumentedApi(
        title="xmodal",
        version=version("xmodal"),
        summary="Search pictures, texts, sounds and videos by any of them.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # FastAPI's documentation pages would load scripts from other hosts
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        middleware=middleware,
    )
    app.state.service = Service(index, pools, metrics, thumbnails)
    app.include_router(json_routes.router)
    app.include_router(media_routes.router)
    error_responses.install(app)
    static_page.install(app, pages)
    return app
