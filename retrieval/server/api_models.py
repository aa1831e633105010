"""Requests and responses of the HTTP API, as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MediaKind = Literal["text", "image", "audio", "video"]
Target = Literal["text", "image", "audio", "video", "item", "any"]
Metadata = dict[str, str | int | float | bool | None]

MAX_TERMS = 32
MAX_TEXT = 20_000
MAX_K = 1000


class _StrictRequest(BaseModel):
    """A request; an unknown field is an error, not ignored."""

    model_config = ConfigDict(extra="forbid")


class _Term(_StrictRequest):
    """One part of a query: something to look for or, with a negative weight, to avoid."""

    weight: float = Field(1.0, allow_inf_nan=False, ge=-1e6, le=1e6)


class TextTerm(_Term):
    """Text to search by."""

    kind: Literal["text"]
    value: str = Field(max_length=MAX_TEXT)
    upload: None = None


class ItemTerm(_Term):
    """An item of the index, by its id, to find more like it."""

    kind: Literal["id"]
    value: str = Field(max_length=MAX_TEXT)
    upload: None = None


class VectorTerm(_Term):
    """A vector of the aligned space."""

    kind: Literal["vector"]
    value: list[Annotated[float, Field(allow_inf_nan=False)]] = Field(min_length=1, max_length=65_536)
    upload: None = None


class FileTerm(_Term):
    """A picture, sound or video that is uploaded with the request."""

    kind: Literal["image", "audio", "video"]
    value: None = None
    upload: str = Field(max_length=200, description="Name of the form part that contains the file.")


class SearchIn(_StrictRequest):
    """A query of one or more terms, and what to find."""

    terms: list[Annotated[TextTerm | ItemTerm | VectorTerm | FileTerm, Field(discriminator="kind")]] = Field(
        min_length=1, max_length=MAX_TERMS
    )
    to: Target | None = Field(
        None, description="What to find. Optional if the index has only one modality besides the query's."
    )
    k: int = Field(24, ge=1, le=MAX_K, description="Maximum number of hits.")
    where: str | None = Field(
        None, max_length=10_000, description="Filter on metadata, e.g. \"year > 2000 and place = 'Oslo'\"."
    )
    min_percentile: float | None = Field(
        None,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="Only hits at or above this percentile among scores of unrelated pairs, e.g. 99.",
    )


class HitOut(BaseModel):
    """A hit as ``xmodal search --json`` prints it, with the URL of its file and the contribution of each term."""

    rank: int
    score: float
    id: str
    modality: MediaKind | Literal["item"]
    path: str | None
    text: str | None
    start: float | None
    end: float | None
    metadata: Metadata
    asset: int
    percentile: float | None = Field(
        description="Percentile of the score among scores of unrelated pairs; null if unknown."
    )
    media: str | None = Field(description="URL path of the file; null for captions.")
    thumbnail: str | None
    contributions: list[float] = Field(
        description="What each term of the query adds to the score, in the order of the terms."
    )


class SearchOut(BaseModel):
    """The hits, best first."""

    hits: list[HitOut]
    to: Target
    milliseconds: float


class EncodeIn(_StrictRequest):
    """Text and files to encode; weights are ignored."""

    terms: list[Annotated[TextTerm | FileTerm, Field(discriminator="kind")]] = Field(
        min_length=1, max_length=MAX_TERMS
    )


class EncodeOut(BaseModel):
    """Unit vectors of the aligned space, one for each term."""

    vectors: list[list[float]]


class AssetOut(BaseModel):
    """One asset of an item: a picture, a sound, a video, a caption, or a segment of a long one."""

    asset: int
    modality: MediaKind
    path: str | None
    text: str | None
    start: float | None
    end: float | None
    media: str | None
    thumbnail: str | None


class ItemOut(BaseModel):
    """An item with its metadata and all its assets."""

    id: str
    metadata: Metadata
    assets: list[AssetOut]


class ModalityOut(BaseModel):
    """What the index has of one modality."""

    assets: int = Field(description="Number of searchable assets, including segments of long media.")
    index: str | None = Field(description="Kind of vector index; null if there is nothing to search.")
    asks: bool = Field(description="Whether a query may be of this modality.")


class ColumnOut(BaseModel):
    """A metadata column that can be used in filters."""

    name: str
    type: Literal["text", "integer", "real", "boolean"]
    examples: list[str | int | float | bool] = Field(description="The most common values, most common first.")
    min: str | int | float | bool | None
    max: str | int | float | bool | None


class InfoOut(BaseModel):
    """What the index contains and how it was built."""

    version: str
    generation: int
    created: str
    items: int
    modalities: dict[MediaKind, ModalityOut]
    fusion: str | None = Field(
        description="Method that combines an item's assets into one vector; null if whole items cannot be searched."
    )
    columns: list[ColumnOut]
    encoders: dict[str, dict[str, Any]]
    alignment: dict[str, Any]
    settings: dict[str, Any]
    counts: dict[str, int]


class EvaluateIn(_StrictRequest):
    """What to measure; see ``xmodal evaluate --help``."""

    tasks: list[str] | None = Field(None, max_length=16, description="For example text-to-image.")
    ks: list[Annotated[int, Field(ge=1, le=100_000)]] = Field([1, 5, 10], min_length=1, max_length=20)
    relevance: str = Field("item", max_length=200)
    split: Literal["holdout", "all"] | None = None
    pool: Literal["holdout", "all"] | None = None
    where: str | None = Field(None, max_length=10_000)
    captions: int | None = Field(None, ge=1)
    by: list[str] = Field([], max_length=8)
    exact: bool = False
    compare: bool = False
    hubness: Literal["none", "centre", "csls", "qbnorm"] = "none"
    resamples: int = Field(1000, ge=0, le=10_000)
    seed: int = Field(0, ge=0, lt=2**32)


class EvaluateOut(BaseModel):
    """The metrics, and the protocol that they were measured by."""

    protocol: dict[str, Any]
    tasks: dict[str, dict[str, Any]]


class HealthOut(BaseModel):
    """The server's state, and the generation of the index that it serves."""

    status: Literal["ok", "stale"] = Field(description="stale: a newer generation could not be opened.")
    generation: int
    problem: str | None = Field(
        description="Class name of the error that kept a newer generation from being opened; else null."
    )


class ErrorOut(BaseModel):
    """An error."""

    kind: str = Field(description="Class name of the error in retrieval.errors.")
    message: str


class Problem(BaseModel):
    """Body of every error response."""

    error: ErrorOut
