"""What goes in and out of the API, as the OpenAPI document describes it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MediaKind = Literal["text", "image", "audio", "video"]
Target = Literal["text", "image", "audio", "video", "item", "any"]
Metadata = dict[str, str | int | float | bool | None]

MAX_TERMS = 32
MAX_TEXT = 20_000
MAX_K = 1000


class _Closed(BaseModel):
    """A request: a field it does not know is a mistake to tell of."""

    model_config = ConfigDict(extra="forbid")


class _Term(_Closed):
    """One part of a query: something to look for, or with a negative weight, to avoid."""

    weight: float = Field(1.0, allow_inf_nan=False, ge=-1e6, le=1e6)


class Words(_Term):
    """Words to look for."""

    kind: Literal["text"]
    value: str = Field(max_length=MAX_TEXT)
    upload: None = None


class Like(_Term):
    """An item of the index, by its id, for more like it."""

    kind: Literal["id"]
    value: str = Field(max_length=MAX_TEXT)
    upload: None = None


class Point(_Term):
    """A vector of the aligned space."""

    kind: Literal["vector"]
    value: list[Annotated[float, Field(allow_inf_nan=False)]] = Field(min_length=1, max_length=65_536)
    upload: None = None


class File(_Term):
    """A picture, sound or video that comes with the request."""

    kind: Literal["image", "audio", "video"]
    value: None = None
    upload: str = Field(max_length=200, description="The name of the form's part that holds the file.")


class SearchIn(_Closed):
    """A query of one or more terms, and what to find."""

    terms: list[Annotated[Words | Like | Point | File, Field(discriminator="kind")]] = Field(
        min_length=1, max_length=MAX_TERMS
    )
    to: Target | None = Field(None, description="What to find; needed unless there is one other modality.")
    k: int = Field(24, ge=1, le=MAX_K)
    where: str | None = Field(
        None, max_length=10_000, description="A filter: \"year > 2000 and place = 'Oslo'\"."
    )
    min_percentile: float | None = Field(
        None,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="Only hits of at least this percentile, such as 99.",
    )


class HitOut(BaseModel):
    """One answer, as ``xmodal search --json`` prints it, with where its file is and why it was found."""

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
        description="How many of a hundred scores of unrelated things are below; null where that is not known."
    )
    media: str | None = Field(description="Where the file is served; null for captions.")
    thumbnail: str | None
    contributions: list[float] = Field(description="What each term adds to the score, in the terms' order.")


class SearchOut(BaseModel):
    """The hits, best first."""

    hits: list[HitOut]
    to: Target
    milliseconds: float


class EncodeIn(_Closed):
    """Media to encode; weights do not matter."""

    terms: list[Annotated[Words | File, Field(discriminator="kind")]] = Field(
        min_length=1, max_length=MAX_TERMS
    )


class EncodeOut(BaseModel):
    """Unit vectors of the aligned space, one a term."""

    vectors: list[list[float]]


class AssetOut(BaseModel):
    """A part of an item."""

    asset: int
    modality: MediaKind
    path: str | None
    text: str | None
    start: float | None
    end: float | None
    media: str | None
    thumbnail: str | None


class ItemOut(BaseModel):
    """An item with all that belongs to it."""

    id: str
    metadata: Metadata
    assets: list[AssetOut]


class ModalityOut(BaseModel):
    """What there is of one modality."""

    assets: int = Field(description="How many can be found, segments of long clips included.")
    index: str | None = Field(description="Kind of vector index; null where there is nothing to be found.")
    asks: bool = Field(description="Whether a query may be of this modality.")


class ColumnOut(BaseModel):
    """A metadata column that can be filtered on."""

    name: str
    type: Literal["text", "integer", "real", "boolean"]
    examples: list[str | int | float | bool] = Field(description="The commonest values first.")
    min: str | int | float | bool | None
    max: str | int | float | bool | None


class InfoOut(BaseModel):
    """What the index holds and what made it."""

    version: str
    generation: int
    created: str
    items: int
    modalities: dict[MediaKind, ModalityOut]
    fusion: str | None = Field(
        description="What makes one vector of each item; null where whole items cannot be found."
    )
    columns: list[ColumnOut]
    encoders: dict[str, dict[str, Any]]
    alignment: dict[str, Any]
    settings: dict[str, Any]
    counts: dict[str, int]


class EvaluateIn(_Closed):
    """What to measure; see ``xmodal evaluate``."""

    tasks: list[str] | None = Field(None, max_length=16, description="For instance text-to-image.")
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
    """Figures, and the protocol without which they mean nothing."""

    protocol: dict[str, Any]
    tasks: dict[str, dict[str, Any]]


class HealthOut(BaseModel):
    """That the server answers, and which generation of the index it answers from."""

    status: Literal["ok", "stale"]
    generation: int
    problem: str | None = Field(
        description="The kind of error that a newer generation could not be opened for."
    )


class ErrorOut(BaseModel):
    """What went wrong."""

    kind: str = Field(description="The name of the error's class in retrieval.errors.")
    message: str


class Problem(BaseModel):
    """Every answer that is no success."""

    error: ErrorOut
