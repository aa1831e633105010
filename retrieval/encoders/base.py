"""The encoder interface: media in, feature rows out, and a spec that identifies exactly what computed them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

from retrieval.errors import EncoderMismatchError
from retrieval.types import Matrix, Modality


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """Everything about an encoder that its vectors depend on.

    Attributes:
        name: name in the registry, for example ``"minilm"``.
        modality: the modality it encodes.
        dimension: columns of its feature rows.
        weights: SHA-256 of the weights file, in hex.
        preprocessing: text that changes whenever the input of the network changes.
    """

    name: str
    modality: Modality
    dimension: int
    weights: str
    preprocessing: str

    @property
    def fingerprint(self) -> str:
        """32 hex digits that differ if any attribute differs."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a medium that a feature row describes.

    Attributes:
        start: in seconds; None for the whole medium.
        end: in seconds; None for the whole medium.
        windows: number of windows, for a text that is longer than its encoder reads at once; the row pools them.
            None if one window was enough.
    """

    start: float | None = None
    end: float | None = None
    windows: int | None = None


@dataclass(frozen=True, slots=True)
class PartLayout:
    """Where a feature row holds the parts of its medium: grid cells, word pieces, stretches of time.

    The row of the whole medium comes first. Each part has its own columns, one part after the other; the columns of
    a missing part are zero.

    Attributes:
        whole: number of columns that describe the whole medium.
        first: column where the first part begins: ``whole``, or less if the columns of the whole are the parts.
        count: maximum number of parts.
        columns: number of columns of each part.
    """

    whole: int
    first: int
    count: int
    columns: int

    @classmethod
    def after_whole(cls, whole: int, count: int, columns: int) -> PartLayout:
        """Return the layout whose parts follow the columns of the whole."""
        return cls(whole, whole, count, columns)

    @property
    def dimension(self) -> int:
        """Number of columns of the complete row."""
        return max(self.whole, self.first + self.count * self.columns)

    def split(self, rows: Matrix) -> Matrix:
        """Return the (n, count, columns) parts of (n, dimension) rows, as a view without copying."""
        parts = rows[:, self.first : self.first + self.count * self.columns]
        return parts.reshape(len(rows), self.count, self.columns)


WHOLE = (Span(),)
"""Spans of a medium that has a single feature row."""


@dataclass(frozen=True, slots=True)
class ClassHead:
    """A classifier on top of an image encoder's features: logits = features @ weights.T + bias.

    Attributes:
        names: C class names, as words.
        weights: (C, dimension) float32.
        bias: (C,) float32.
    """

    names: Sequence[str]
    weights: Matrix
    bias: Matrix


class Encoder(Protocol):
    """Turns media of one modality into feature rows.

    ``prepare`` runs in worker threads or processes, one medium at a time; ``encode`` runs on batches of what it
    returned. The rows do not depend on the batch they were computed in, except for rounding. ``prepare`` may be
    called from several threads at once; ``encode`` is called from one. ``prepare`` is pickled to reach a worker
    process, so for an encoder with a network it is a separate object, from a module that imports no network.
    """

    @property
    def spec(self) -> EncoderSpec:
        """Identity of this encoder."""
        ...

    @property
    def numerics(self) -> str:
        """Runtime and precision that compute the rows, for example ``"openvino bf16"``.

        Not part of the fingerprint: rows of different numerics differ only by rounding, and may be compared.
        """
        ...

    def prepare(self, medium: Any) -> Any:
        """Do everything for one medium that comes before the network: decode, resize, tokenise.

        Args:
            medium: a ``str`` for text; for other modalities a path, ``bytes``, or a decoded object
                (for images a ``PIL.Image.Image``).

        Raises:
            MediaError: the medium cannot be decoded or exceeds a limit.
        """
        ...

    def encode(self, prepared: Sequence[Any]) -> Matrix:
        """Return (n, dimension) float32 features of prepared media, as the model's authors publish them.

        Each medium has as many rows as ``spans``; the rows of one medium follow those of the one before. The rows
        of some models have unit norm, others not: callers that need unit norm must normalise. An empty input gives
        no rows.
        """
        ...

    def spans(self, prepared: Any) -> Sequence[Span]:
        """Return the part of the medium that each of its rows describes.

        The first is the whole; a long clip or video may have more, one per segment. ``WHOLE`` if there is one row.
        """
        ...

    def class_head(self) -> ClassHead | None:
        """Return the classifier the encoder was trained with, or None."""
        ...


@runtime_checkable
class HasParts(Protocol):
    """An encoder whose rows may hold parts.

    Attributes:
        parts: the layout of the parts; None if there are none.
    """

    parts: PartLayout | None


def parts_of(encoder: Encoder) -> PartLayout | None:
    """Return the layout of the parts in an encoder's rows; None if there are none."""
    return encoder.parts if isinstance(encoder, HasParts) else None


@runtime_checkable
class Releasable(Protocol):
    """An encoder that can release its network; it is loaded again when needed."""

    def release(self) -> None:
        """Release the network."""
        ...


def text_spans(windows: int) -> Sequence[Span]:
    """Return the spans of a text that has one row and was read in ``windows`` windows."""
    return WHOLE if windows == 1 else (Span(windows=windows),)


def check_same_encoder(built: EncoderSpec, present: EncoderSpec) -> None:
    """Check that two encoders are the same, so that their vectors can be compared.

    Raises:
        EncoderMismatchError: the fingerprints differ; the message names both.
    """
    if built.fingerprint != present.fingerprint:
        differing = [name for name in built.__slots__ if getattr(built, name) != getattr(present, name)]
        raise EncoderMismatchError(
            f"the index was built with {built.modality} encoder {built.name} ({built.fingerprint[:12]}), "
            f"but this is {present.name} ({present.fingerprint[:12]}); they differ in {', '.join(differing)}: "
            "open the index with the first encoder, or build it again with the second"
        )
