"""The page: files that were built beforehand and came with the package."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

from retrieval.errors import MissingFileError

BUILT = Path(__file__).with_name("page")
"""Where the build puts them: ``index.html`` and ``assets/``."""


class _Assets(StaticFiles):
    """Files whose names change with their content."""

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
                "the page was not built; the API is at /api, described by /api/openapi.json: run scripts/page"
            )
        return FileResponse(index, headers={"Cache-Control": "no-cache"})

    if (folder / "assets").is_dir():
        app.mount("/assets", _Assets(directory=folder / "assets"))
