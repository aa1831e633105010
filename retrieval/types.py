"""Small value types shared by indexing, search and evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from retrieval.errors import OptionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# As strings, so that `import retrieval` does not import NumPy.
Matrix: TypeAlias = "NDArray[np.float32]"
"""A float32 array of shape (rows, dimension)."""

Integers: TypeAlias = "NDArray[np.int64]"
"""An int64 array of shape (rows,)."""

MetadataValue: TypeAlias = str | int | float | bool | None


ITEM: Literal["item"] = "item"
"""The target of a search for whole items. Not a modality, because an item has assets of several modalities."""

Target: TypeAlias = "Modality | Literal['item']"


class Modality(StrEnum):
    """The modality of an asset."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"

    @classmethod
    def parse(cls, name: str) -> Modality:
        """Return the modality called ``name``.

        Raises:
            OptionError: no modality has that name.
        """
        try:
            return cls(name)
        except ValueError:
            known = ", ".join(cls)
            raise OptionError(f"unknown modality {name!r}: expected one of {known}") from None


@dataclass(slots=True)  # a frozen one takes four times as long to create; ten would be 5 % of a query's time
class Hit:
    """One result of a query.

    Attributes:
        rank: 1 for the best.
        score: inner product with the query in the aligned space, in [-1, 1]. Among hits of several modalities the
            scores are made comparable by ``retrieval.search.merging.merge_modalities``. In fused rankings
            (``combine``), the sum of the contributions, in no fixed range.
        id: the item's id.
        modality: of the asset; ``"item"`` if the target was whole items.
        path: the asset's file relative to its source; for an item that of its picture, video or sound, the first
            that it has; None for captions of a manifest.
        text: the caption, for text assets.
        start: start of the matching segment in seconds; None for a whole asset.
        end: end of the matching segment in seconds.
        metadata: the item's columns.
        asset: the asset's number in this index, by which a server serves its file.
        percentile: percentile among scores of unrelated pairs of the same two modalities, relative to the query's
            mean score; None if the index does not store their distribution, and in fused rankings.
        contributions: what each term of a query of several terms adds to the score, in the order of
            ``Query.terms``; their sum is the score. None for a query of a single term.
    """

    rank: int
    score: float
    id: str
    modality: Target
    path: str | None = None
    text: str | None = None
    start: float | None = None
    end: float | None = None
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    asset: int | None = None
    percentile: float | None = None
    contributions: tuple[float, ...] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the hit as plain values, as ``xmodal search --json`` prints it."""
        values = {name: getattr(self, name) for name in self.__slots__}
        values["contributions"] = None if self.contributions is None else list(self.contributions)
        return {**values, "modality": str(self.modality), "metadata": dict(self.metadata)}


@dataclass(frozen=True, slots=True)
class Term:
    """One part of a query: something to find or, with a negative weight, to avoid.

    Attributes:
        kind: a modality, ``"id"`` (an item of the index) or ``"vector"`` (in the aligned space).
        value: text; a path, bytes, picture or array; an item's id; or a (d,) float32 vector.
        weight: the weight in the sum of terms.
        of: the modality that a vector was made from, if known.
    """

    kind: str
    value: Any
    weight: float = 1.0
    of: Modality | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A query: one or more terms, summed with their weights.

    Every attribute takes one value, one ``(value, weight)`` tuple, a ``Term`` of its kind, or a list of these.
    """

    text: Any = None
    image: Any = None
    audio: Any = None
    video: Any = None
    id: Any = None
    vector: Any = None

    def terms(self) -> list[Term]:
        """Return the terms, in the order of the attributes.

        Raises:
            OptionError: the query is empty, or a weight is not a finite number.
        """
        kinds = ("text", "image", "audio", "video", "id", "vector")
        terms = [_term(kind, part) for kind in kinds for part in _parts(getattr(self, kind))]
        if not terms:
            raise OptionError(f"empty query: specify at least one of {', '.join(kinds)}")
        return terms


def _parts(value: Any) -> Iterable[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _term(kind: str, part: Any) -> Term:
    if isinstance(part, Term):
        return part
    if not isinstance(part, tuple):
        return Term(kind, part)
    if len(part) != 2 or not isinstance(part[1], Real) or not math.isfinite(part[1]):
        raise OptionError(
            f"expected a query term (value, weight) with a finite number as weight, not {part!r}"
        )
    value, weight = part
    return Term(kind, value, float(weight))
