"""What every encoder is: media in, feature rows out, and an exact account of what made them."""

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
    """What an encoder is, as far as its vectors are concerned.

    Attributes:
        name: the registry's name, for instance ``"minilm"``.
        modality: what it reads.
        dimension: columns of its feature rows.
        weights: SHA-256 of the weights file, in hex.
        preprocessing: a text that changes whenever what enters the network changes.
    """

    name: str
    modality: Modality
    dimension: int
    weights: str
    preprocessing: str

    @property
    def fingerprint(self) -> str:
        """32 hex digits that differ wherever any attribute differs."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a medium that a feature row is of.

    Attributes:
        start: in seconds; None for the whole.
        end: in seconds; None for the whole.
        windows: in how many pieces it was read, of a text that is longer than its encoder reads at once; the row
            pools them. None where it was read in one.
    """

    start: float | None = None
    end: float | None = None
    windows: int | None = None


@dataclass(frozen=True, slots=True)
class PartLayout:
    """How a feature row holds the parts of what it is of: grid cells, word pieces, stretches of time.

    The row of the whole comes first. Each part has columns of its own, one part's after the other's; the columns of
    a part that is not there are zero.

    Attributes:
        whole: columns of the row of the whole.
        first: column where the first part begins: ``whole``, or less where the whole is made of its parts.
        count: parts, at most.
        columns: of a part.
    """

    whole: int
    first: int
    count: int
    columns: int

    @classmethod
    def after_whole(cls, whole: int, count: int, columns: int) -> PartLayout:
        """Parts that come after the row of the whole."""
        return cls(whole, whole, count, columns)

    @property
    def dimension(self) -> int:
        """Columns of the row."""
        return max(self.whole, self.first + self.count * self.columns)

    def split(self, rows: Matrix) -> Matrix:
        """(n, count, columns) parts of (n, dimension) rows, no copy."""
        parts = rows[:, self.first : self.first + self.count * self.columns]
        return parts.reshape(len(rows), self.count, self.columns)


WHOLE = (Span(),)
"""The spans of a medium that has one feature row."""


@dataclass(frozen=True, slots=True)
class ClassHead:
    """A classifier on top of an image encoder's features: logits = features @ weights.T + bias.

    Attributes:
        names: C class names in words.
        weights: (C, dimension) float32.
        bias: (C,) float32.
    """

    names: Sequence[str]
    weights: Matrix
    bias: Matrix


class Encoder(Protocol):
    """Turns media of one modality into feature rows.

    ``prepare`` runs in worker threads or processes, one medium at a time; ``encode`` runs on batches of what it
    returned. The rows do not depend on the batch they were computed in, but for rounding. ``prepare`` may be
    called from several threads at once; ``encode`` is called from one. ``prepare`` is pickled to get into a
    process, so where there is a network it is an object of its own, from a module that does not import one.
    """

    @property
    def spec(self) -> EncoderSpec:
        """What this encoder is."""
        ...

    @property
    def numerics(self) -> str:
        """What computes its rows, and in which precision: ``"openvino bf16"``.

        No part of the fingerprint: rows of different numerics differ by rounding, and are compared.
        """
        ...

    def prepare(self, medium: Any) -> Any:
        """Everything that can be done for one medium before the network: decode, resize, tokenise.

        Args:
            medium: for text a ``str``; for the others a path, ``bytes``, or an already decoded object
                (for images a ``PIL.Image.Image``).

        Raises:
            MediaError: the medium cannot be decoded or exceeds a limit.
        """
        ...

    def encode(self, prepared: Sequence[Any]) -> Matrix:
        """(n, dimension) float32 features of prepared media, as the model's authors publish them.

        As many rows a medium as it has ``spans``, one medium's after the other's. Some models' are of unit
        norm, others' are not: who needs unit norm makes it so. No media, no rows.
        """
        ...

    def spans(self, prepared: Any) -> Sequence[Span]:
        """What part of the medium each row is of that ``encode`` gives for it.

        The first is the whole; a long clip or video may have more, one a segment. ``WHOLE`` for one row.
        """
        ...

    def class_head(self) -> ClassHead | None:
        """The classifier the encoder was trained with, where it has one."""
        ...


@runtime_checkable
class HasParts(Protocol):
    """An encoder whose rows may hold parts.

    Attributes:
        parts: how they do; None where they do not.
    """

    parts: PartLayout | None


def parts_of(encoder: Encoder) -> PartLayout | None:
    """How an encoder's rows hold parts; None where they do not."""
    return encoder.parts if isinstance(encoder, HasParts) else None


@runtime_checkable
class Releasable(Protocol):
    """An encoder that can let go of its network; it is read again when it is needed."""

    def release(self) -> None:
        """Let go of it."""
        ...


def text_spans(windows: int) -> Sequence[Span]:
    """The spans of a text that was read in so many windows and has one row."""
    return WHOLE if windows == 1 else (Span(windows=windows),)


def check_same_encoder(built: EncoderSpec, present: EncoderSpec) -> None:
    """Refuse to compare vectors of two encoders.

    Raises:
        EncoderMismatchError: the fingerprints differ; the message names both.
    """
    if built.fingerprint != present.fingerprint:
        differing = [name for name in built.__slots__ if getattr(built, name) != getattr(present, name)]
        raise EncoderMismatchError(
            f"the index was built with {built.modality} encoder {built.name} ({built.fingerprint[:12]}), "
            f"this is {present.name} ({present.fingerprint[:12]}); they differ in {', '.join(differing)}: "
            "open it with the former or index again with the latter"
        )
