"""Parse query requests, which are JSON or a multipart form with JSON and files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from retrieval.errors import OptionError
from retrieval.server.api_models import MAX_TERMS

Model = TypeVar("Model", bound=BaseModel)

FIELD = "query"
"""The form's field that contains the JSON."""

MAX_JSON = 4 * 2**20
"""Maximum bytes of JSON, in a form or alone."""


def request_body(model: type[BaseModel]) -> dict[str, Any]:
    """Return the description of both kinds of request body for the OpenAPI document."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    form = {
        "type": "object",
        "required": [FIELD],
        "properties": {
            FIELD: {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}
        },
        "additionalProperties": {"type": "string", "format": "binary"},
    }
    content = {"application/json": {"schema": schema}, "multipart/form-data": {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}


@asynccontextmanager
async def parsed_request(
    request: Request, model: type[Model]
) -> AsyncIterator[tuple[Model, Mapping[str, UploadFile]]]:
    """Give the query and the uploaded files by the names of their form parts; files are open within the block.

    Raises:
        RequestValidationError: the JSON does not match the model.
        OptionError: the body is neither JSON nor a form.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "application/json":
        yield _parse_json(model, await request.body()), {}
        return
    if content_type != "multipart/form-data":
        raise OptionError(f"expected application/json or multipart/form-data, not {content_type[:100]!r}")
    async with AsyncExitStack() as open_files:
        try:
            form = await open_files.enter_async_context(
                request.form(max_files=MAX_TERMS, max_fields=4, max_part_size=MAX_JSON)
            )
        except HTTPException as error:  # Starlette's error for a form that does not parse
            raise OptionError(f"the form does not parse: {error.detail}") from error
        query = form.get(FIELD)
        if not isinstance(query, str):
            raise OptionError(f"the form needs a field {FIELD!r} that contains the query as JSON")
        files = {name: part for name, part in form.multi_items() if isinstance(part, UploadFile)}
        yield _parse_json(model, query.encode()), files


def _parse_json(model: type[Model], body: bytes) -> Model:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError(
            [{**each, "loc": ("body", *each["loc"])} for each in problems]
        ) from error
