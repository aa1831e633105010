"""Routes that answer with files: media and their thumbnails."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse

from retrieval.server.asset_lookup import locate
from retrieval.server.error_responses import documented
from retrieval.server.service import Service
from retrieval.server.thumbnail_cache import SIZES, thumbnail

FILE_HEADERS = {
    # If a browser renders a user's file as a document, the file must not be able to run anything.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    # Clients revalidate each time, and get status 304 while the file is unchanged.
    "Cache-Control": "private, no-cache",
}

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


def _binary_content(*content_types: str) -> dict[str, Any]:
    return {"content": dict.fromkeys(content_types, _BINARY)}


router = APIRouter()

AssetNumber = Annotated[int, Path(ge=0, lt=2**63, description="Number of the asset, from a hit's 'asset'.")]


@router.get(
    "/api/media/{asset}",
    response_class=Response,
    responses={
        **documented(404, 416, 422, 503),
        200: {
            **_binary_content("image/*", "audio/*", "video/*", "application/octet-stream"),
            "description": "The file.",
        },
        206: {
            **_binary_content(
                "image/*", "audio/*", "video/*", "application/octet-stream", "multipart/byteranges"
            ),
            "description": "The byte range that the Range header requests.",
        },
        304: {"description": "The file still has the ETag in If-None-Match."},
    },
)
async def media(request: Request, asset: AssetNumber) -> Response:
    """Return an asset's file, or a byte range of it."""
    service = Service.of(request)
    async with service.index.reading() as opened:
        location = await service.pools.reading(partial(locate, opened, asset))
    response = FileResponse(
        location.file,
        media_type=location.content_type,
        filename=location.file.name.encode("utf-8", "replace").decode(),
        content_disposition_type="inline",
        stat_result=location.status,
        headers=FILE_HEADERS,
    )
    return _not_modified(request, response.headers["etag"]) or response


@router.get(
    "/api/media/{asset}/thumbnail",
    response_class=Response,
    responses={
        **documented(404, 422, 503),
        200: {**_binary_content("image/jpeg", "image/svg+xml"), "description": "The thumbnail."},
        304: {"description": "The thumbnail still has the ETag in If-None-Match."},
    },
)
async def media_thumbnail(
    request: Request,
    asset: AssetNumber,
    size: Annotated[int, Query(ge=SIZES[0], le=SIZES[-1], description="Pixels of the longer side.")] = 256,
) -> Response:
    """Return a scaled-down picture, a video's frame at the start of the asset, or a sound's waveform."""
    service = Service.of(request)
    async with service.index.reading() as opened:
        location = await service.pools.reading(partial(locate, opened, asset))
        image = await service.pools.drawing(partial(thumbnail, service.thumbnails, location, size))
    headers = {**FILE_HEADERS, "ETag": image.etag}
    return _not_modified(request, image.etag) or Response(
        image.data, media_type=image.content_type, headers=headers
    )


def _not_modified(request: Request, etag: str) -> Response | None:
    """Return the response 304 if the client already has this version, else None."""
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    return Response(status_code=304, headers={**FILE_HEADERS, "ETag": etag}) if etag in known else None
