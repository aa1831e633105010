"""The server put together."""

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
from retrieval.server.security import Guard, check_reach, is_loopback
from retrieval.server.service import Service
from retrieval.server.thread_pools import ThreadPools
from retrieval.storage.layout import Layout
from retrieval.types import Modality

MAX_BYTES = 100 * 2**20
"""Bytes that a request may have."""


class _Described(FastAPI):
    """Its document has the bodies too that come as JSON or as a form, which FastAPI does not look into."""

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
    most: int = MAX_BYTES,
    pages: Path = static_page.BUILT,
) -> FastAPI:
    """The ASGI application that serves the index in ``folder``, which is opened at once.

    Args:
        folder: what ``xmodal index --out`` was given.
        host: the address it will listen on, by which it knows who may reach it.
        token: what whoever asks must know.
        device: as ``retrieval.open`` takes it.
        runtime: as there.
        encoders: as there.
        roots: where the sources' files are now, one for each source; where they were when empty.
        origins: whose pages may use the API from a browser; none but its own when empty.
        most: bytes that a request may have.
        pages: the folder of the page.

    Raises:
        OptionError: other machines could reach it without a token, or the token is a poor one.
        XmodalError: the index cannot be opened.
    """
    check_reach(host, token)
    root, metrics, workers = Path(folder), Metrics(), ThreadPools()
    opening = partial(SearchEngine, root, device=device, runtime=runtime, encoders=encoders)
    library = ReloadingIndex(root, opening, roots=roots, workers=workers, metrics=metrics)
    cache = DiskCache(Layout(root).cache)

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        yield
        await library.stop()
        workers.close()
        cache.close()

    middleware = [
        Middleware(MetricsMiddleware, metrics=metrics),
        Middleware(Guard, loopback=is_loopback(host), token=token, shared=bool(origins)),
        Middleware(BodyLimit, most=most),
    ]
    if origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )
        middleware.insert(1, cors)
    app = _Described(
        title="xmodal",
        version=version("xmodal"),
        summary="One search over pictures, words, sounds and video.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # these pages would load from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=running,
        middleware=middleware,
    )
    app.state.service = Service(library, workers, metrics, cache)
    app.include_router(json_routes.router)
    app.include_router(media_routes.router)
    error_responses.install(app)
    static_page.install(app, pages)
    return app
