"""The small, frozen values that indexing, search and evaluation share."""

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

# As texts, so that `import retrieval` needs no NumPy.
Matrix: TypeAlias = "NDArray[np.float32]"
"""A float32 array of shape (rows, dimension)."""

Integers: TypeAlias = "NDArray[np.int64]"
"""An int64 array of shape (rows,)."""

MetadataValue: TypeAlias = str | int | float | bool | None


ITEM: Literal["item"] = "item"
"""What is found where whole items are looked for; no modality, for it is made of what an item has of each."""

Target: TypeAlias = "Modality | Literal['item']"


class Modality(StrEnum):
    """What an asset is made of."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"

    @classmethod
    def parse(cls, name: str) -> Modality:
        """The modality called ``name``.

        Raises:
            OptionError: no modality has that name.
        """
        try:
            return cls(name)
        except ValueError:
            known = ", ".join(cls)
            raise OptionError(f"unknown modality {name!r}: expected one of {known}") from None


@dataclass(slots=True)  # making a frozen one takes four times as long, and ten of them a twentieth of a query
class Hit:
    """One answer to a query.

    Attributes:
        rank: 1 for the best.
        score: inner product with the query in the aligned space, in [-1, 1]; among hits of several modalities
            made comparable, as ``retrieval.search.merging.merged`` does; in joined rankings (``combine``) what they
            add up to, in no fixed range.
        id: the item's id.
        modality: of the asset that was found; ``"item"`` where whole items were looked for.
        path: the asset's file relative to its source, of an item that of its picture, video or sound, whichever it has
            first; None for captions of a manifest.
        text: the caption, for text assets.
        start: where the matching segment starts, in seconds; None for a whole asset.
        end: where it ends, in seconds.
        metadata: the item's columns.
        asset: the asset's number in this index, by which a server serves its file.
        percentile: how many of a hundred scores between things that have nothing to do with each other, of the same
            two modalities, are less far above their query's mean score; None where the index does not know, and in
            joined rankings.
        contributions: what each term of a query of several adds to the score, in the order of ``Query.terms``; together
            they are the score. None of a lone term, whose it all is.
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
        """The hit as plain values, as ``xmodal search --json`` prints it."""
        values = {name: getattr(self, name) for name in self.__slots__}
        values["contributions"] = None if self.contributions is None else list(self.contributions)
        return {**values, "modality": str(self.modality), "metadata": dict(self.metadata)}


@dataclass(frozen=True, slots=True)
class Term:
    """One part of a query: something to look for, or with a negative weight, to avoid.

    Attributes:
        kind: a modality, ``"id"`` (an item of the index) or ``"vector"`` (in the aligned space already).
        value: text; a path, bytes, picture or array; an item's id; or a (d,) float32 vector.
        weight: how much it counts.
        of: the modality that a vector was made of, where that is known.
    """

    kind: str
    value: Any
    weight: float = 1.0
    of: Modality | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for: one or more terms, summed with their weights.

    Every attribute takes one value, one ``(value, weight)`` tuple, a ``Term`` of its kind, or a list of these.
    """

    text: Any = None
    image: Any = None
    audio: Any = None
    video: Any = None
    id: Any = None
    vector: Any = None

    def terms(self) -> list[Term]:
        """The terms, in the order of the attributes.

        Raises:
            OptionError: the query is empty, or a weight is not a finite number.
        """
        kinds = ("text", "image", "audio", "video", "id", "vector")
        terms = [_term(kind, part) for kind in kinds for part in _parts(getattr(self, kind))]
        if not terms:
            raise OptionError(f"empty query: give at least one of {', '.join(kinds)}")
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
            f"a query term in a tuple is (value, weight), the weight a finite number, not {part!r}"
        )
    value, weight = part
    return Term(kind, value, float(weight))
