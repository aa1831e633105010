"""The addresses that answer with files: media and their thumbnails."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse

from retrieval.server.asset_lookup import locate
from retrieval.server.error_responses import declared
from retrieval.server.service import Service
from retrieval.server.thumbnail_cache import SIZES, thumbnail

GUARDED = {
    # A user's file, should a browser take it for a document, may do nothing.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    # To be asked for again each time, and answered with 304 while it is the same.
    "Cache-Control": "private, no-cache",
}

_BYTES: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


def _files(*kinds: str) -> dict[str, Any]:
    return {"content": dict.fromkeys(kinds, _BYTES)}


router = APIRouter()

Number = Annotated[int, Path(ge=0, lt=2**63, description="As hits show it in 'asset'.")]


@router.get(
    "/api/media/{asset}",
    response_class=Response,
    responses={
        **declared(404, 416, 422, 503),
        200: {
            **_files("image/*", "audio/*", "video/*", "application/octet-stream"),
            "description": "The file.",
        },
        206: {
            **_files("image/*", "audio/*", "video/*", "application/octet-stream", "multipart/byteranges"),
            "description": "The bytes that Range asked for.",
        },
        304: {"description": "The file is what If-None-Match says."},
    },
)
async def media(request: Request, asset: Number) -> Response:
    """An asset's file, whole or by ranges."""
    service = Service.of(request)
    async with service.library.reading() as opened:
        found = await service.workers.reading(partial(locate, opened, asset))
    response = FileResponse(
        found.file,
        media_type=found.kind,
        filename=found.file.name.encode("utf-8", "replace").decode(),
        content_disposition_type="inline",
        stat_result=found.status,
        headers=GUARDED,
    )
    return _not_modified(request, response.headers["etag"]) or response


@router.get(
    "/api/media/{asset}/thumbnail",
    response_class=Response,
    responses={
        **declared(404, 422, 503),
        200: {**_files("image/jpeg", "image/svg+xml"), "description": "A small picture."},
        304: {"description": "The picture is what If-None-Match says."},
    },
)
async def small(
    request: Request,
    asset: Number,
    size: Annotated[int, Query(ge=SIZES[0], le=SIZES[-1], description="Pixels of the longer side.")] = 256,
) -> Response:
    """A picture scaled down, the frame of a video at the asset's moment, or a sound's waveform."""
    service = Service.of(request)
    async with service.library.reading() as opened:
        found = await service.workers.reading(partial(locate, opened, asset))
        drawn = await service.workers.drawing(partial(thumbnail, service.cache, found, size))
    headers = {**GUARDED, "ETag": drawn.tag}
    return _not_modified(request, drawn.tag) or Response(drawn.data, media_type=drawn.kind, headers=headers)


def _not_modified(request: Request, tag: str) -> Response | None:
    """The answer to who has it already."""
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    return Response(status_code=304, headers={**GUARDED, "ETag": tag}) if tag in known else None
