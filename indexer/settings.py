"""What a job was asked for, and what that means for an index that is there already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from indexer import holdout as holdouts
from indexer.holdout import Holdout
from indexer.sources.corpus import Corpus
from retrieval import validation
from retrieval.alignment.methods import registry as alignments
from retrieval.encoders import registry as known
from retrieval.errors import OptionError
from retrieval.fusion import registry as fusions
from retrieval.types import Modality
from retrieval.vectors import registry as indexes
from retrieval.vectors import selection

DEFAULT_PRESET = "packaged"

LEFT_OUT = "none"
"""Said in an encoder's place, it leaves the modality out; in a fusion's, the items."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides an index's content besides its sources.

    Attributes:
        encoders: the name of the encoder of each modality.
        align: alignment method.
        holdout: which items are kept back.
        seed: of the holdout's draw and the fit.
        index: kind of vector index.
        recall: the share of exact search's answers that an approximate index must find.
        memory: bytes that the vector indexes may take together, that of items among them; any number when None. Each
            has its share when it is built; what goes on from the generation before keeps the one it had.
        favour: whether ``"single"`` queries or a ``"batch"`` must be fast.
        fuse: the fusion that makes one vector of all that an item has; None where whole items are not looked for.
    """

    encoders: Mapping[Modality, str]
    align: str = "auto"
    holdout: Holdout = None
    seed: int = 0
    index: str = "auto"
    recall: float = 0.95
    memory: int | None = None
    favour: str = selection.SINGLE
    fuse: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as the manifest keeps them."""
        values = {
            "encoders": {str(modality): name for modality, name in self.encoders.items()},
            "align": self.align,
            "holdout": self.holdout,
            "seed": self.seed,
            "index": self.index,
            "recall": self.recall,
            "memory": self.memory,
            "favour": self.favour,
        }
        return (
            values if self.fuse is None else {**values, "fuse": self.fuse}
        )  # versions before it know no items

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """What ``as_dict`` gave."""
        encoders = {Modality(modality): name for modality, name in values["encoders"].items()}
        return cls(**{**values, "encoders": encoders})


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """The options of one call; None for what was not said."""

    preset: str | None = None
    encoders: Mapping[str, str] | None = None
    align: str | None = None
    holdout: Holdout = None
    seed: int | None = None
    index: str | None = None
    recall: float | None = None
    memory: str | int | None = None
    favour: str | None = None
    fuse: str | None = None

    def settings(self, before: Settings | None) -> Settings:
        """These options; for what was not said, those ``before``, or else the defaults.

        Raises:
            OptionError, ExpressionError: an option has an unusable value.
        """
        base = before or Settings(_preset(DEFAULT_PRESET))
        encoders = dict(base.encoders if self.preset is None else _preset(self.preset))
        encoders |= {Modality.parse(modality): name for modality, name in (self.encoders or {}).items()}
        encoders = {modality: name for modality, name in encoders.items() if name != LEFT_OUT}
        if self.seed is not None and (isinstance(self.seed, bool) or not 0 <= self.seed < 2**32):
            raise OptionError(f"seed must be a whole number from 0 to 2**32 - 1, not {self.seed!r}")
        return Settings(
            encoders=encoders,
            align=base.align if self.align is None else alignments.check_alignment(self.align),
            holdout=base.holdout if self.holdout is None else holdouts.check_holdout(self.holdout),
            seed=base.seed if self.seed is None else self.seed,
            index=base.index if self.index is None else indexes.check_index_spec(self.index),
            recall=base.recall if self.recall is None else selection.check_recall(self.recall),
            memory=base.memory if self.memory is None else selection.check_memory(self.memory),
            favour=base.favour if self.favour is None else selection.check_favour(self.favour),
            fuse=base.fuse if self.fuse is None else _fusion(self.fuse),
        )


def defaults(corpus: Corpus) -> Settings:
    """What holds for a new index of ``corpus`` where nothing was said: a data set brings its own split."""
    encoders = {**_preset(DEFAULT_PRESET), **corpus.encoders}
    return Settings(encoders, align=corpus.align or "auto", holdout=corpus.holdout)


def _fusion(name: str) -> str | None:
    checked = validation.known("fusion", name, (*fusions.METHODS, LEFT_OUT))
    return None if checked == LEFT_OUT else checked


def _preset(name: str) -> Mapping[Modality, str]:
    return known.PRESETS[validation.known("preset", name, known.PRESETS)]
