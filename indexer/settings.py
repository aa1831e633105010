"""Build options of one call, and the settings that they result in for an existing index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from indexer import holdout as holdouts
from indexer.holdout import Holdout
from indexer.sources.corpus import Corpus
from retrieval import option_checks
from retrieval.alignment.methods import registry as alignments
from retrieval.encoders import registry as known
from retrieval.errors import OptionError
from retrieval.fusion import registry as fusions
from retrieval.types import Modality
from retrieval.vectors import index_selection
from retrieval.vectors import registry as indexes

DEFAULT_PRESET = "packaged"

LEFT_OUT = "none"
"""As an encoder's name it leaves the modality out; as a fusion's name it leaves out the vectors of items."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything besides the sources that determines an index's content.

    Attributes:
        encoders: name of the encoder of each modality.
        align: alignment method.
        holdout: which items are held out.
        seed: random seed of the holdout and the fit.
        index: kind of vector index.
        recall: recall that an approximate index must reach, relative to exact search.
        memory: bytes that all vector indexes may take together, including that of items; None for no limit. Each
            index gets its share when it is built. An index continued from the previous generation keeps its share.
        favour: whether ``"single"`` queries or a ``"batch"`` of them must be fast.
        fuse: fusion that makes one vector of all parts of an item; None if whole items are not a search target.
    """

    encoders: Mapping[Modality, str]
    align: str = "auto"
    holdout: Holdout = None
    seed: int = 0
    index: str = "auto"
    recall: float = 0.95
    memory: int | None = None
    favour: str = index_selection.SINGLE
    fuse: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as the manifest stores them."""
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
        # Older versions do not know the key "fuse".
        return values if self.fuse is None else {**values, "fuse": self.fuse}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Return the settings that ``as_dict`` made these values from."""
        encoders = {Modality(modality): name for modality, name in values["encoders"].items()}
        return cls(**{**values, "encoders": encoders})


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """The options of one call; None for options that were not given."""

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
        """Return these options; those that are None are taken from ``before``, or else from the defaults.

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
            recall=base.recall if self.recall is None else index_selection.check_recall(self.recall),
            memory=base.memory if self.memory is None else index_selection.check_memory(self.memory),
            favour=base.favour if self.favour is None else index_selection.check_favour(self.favour),
            fuse=base.fuse if self.fuse is None else _fusion(self.fuse),
        )


def defaults(corpus: Corpus) -> Settings:
    """Return the default settings of a new index of ``corpus``; a data set brings its own encoders and split."""
    encoders = {**_preset(DEFAULT_PRESET), **corpus.encoders}
    return Settings(encoders, align=corpus.align or "auto", holdout=corpus.holdout)


def _fusion(name: str) -> str | None:
    checked = option_checks.known("fusion", name, (*fusions.METHODS, LEFT_OUT))
    return None if checked == LEFT_OUT else checked


def _preset(name: str) -> Mapping[Modality, str]:
    return known.PRESETS[option_checks.known("preset", name, known.PRESETS)]
