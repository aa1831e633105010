"""Serve the search page: static files that were built in advance and are part of the package."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

from retrieval.errors import MissingFileError

BUILT_PAGE = Path(__file__).with_name("page")
"""Folder of the built page: ``index.html`` and ``assets/``."""


class _ImmutableFiles(StaticFiles):
    """Files whose names change with their content, so that browsers may cache them forever."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code == 200:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def install(app: FastAPI, folder: Path) -> None:
    """Serve the page in ``folder`` at ``/``."""

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        index = folder / "index.html"
        if not index.is_file():
            raise MissingFileError(
                "the page is not built: run scripts/page; the API at /api works without it, see /api/openapi.json"
            )
        return FileResponse(index, headers={"Cache-Control": "no-cache"})

    if (folder / "assets").is_dir():
        app.mount("/assets", _ImmutableFiles(directory=folder / "assets"))
