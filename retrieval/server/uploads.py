"""A query as it comes: JSON, or a form with the files beside it."""

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
"""The form's field that holds the JSON."""

MAX_FIELD = 4 * 2**20
"""Bytes of JSON, in a form or by itself."""


def described(model: type[BaseModel]) -> dict[str, Any]:
    """Both ways to ask, for the OpenAPI document."""
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
async def received(
    request: Request, model: type[Model]
) -> AsyncIterator[tuple[Model, Mapping[str, UploadFile]]]:
    """The query, and the files by the names of their parts, which are there to the end of the block.

    Raises:
        RequestValidationError: the JSON is not of the model's shape.
        OptionError: the body is neither JSON nor a form.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        yield _parsed(model, await request.body()), {}
        return
    if kind != "multipart/form-data":
        raise OptionError(f"expected application/json or multipart/form-data, not {kind[:100]!r}")
    async with AsyncExitStack() as open_files:
        try:
            form = await open_files.enter_async_context(
                request.form(max_files=MAX_TERMS, max_fields=4, max_part_size=MAX_FIELD)
            )
        except HTTPException as error:  # what Starlette makes of a form that does not parse
            raise OptionError(f"the form does not parse: {error.detail}") from error
        query = form.get(FIELD)
        if not isinstance(query, str):
            raise OptionError(f"the form needs a field {FIELD!r} that holds the query as JSON")
        files = {name: part for name, part in form.multi_items() if isinstance(part, UploadFile)}
        yield _parsed(model, query.encode()), files


def _parsed(model: type[Model], body: bytes) -> Model:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in found]) from error
