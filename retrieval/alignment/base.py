"""What an alignment is fitted on, and what it is once fitted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from retrieval.alignment.maps.bank import Bank
from retrieval.alignment.maps.layers import Layer
from retrieval.alignment.maps.pooling import Reading
from retrieval.alignment.maps.projector import Block, Mixture, Projector
from retrieval.arrays.lazy import MatrixLike
from retrieval.encoders.base import ClassHead, PartLayout
from retrieval.errors import AlignmentError, DamagedIndexError, IndexFormatError
from retrieval.types import Integers, Matrix, Modality

LINEAR, LAYERED, BANKED, FORMAT = 1, 2, 3, 4
"""The format of files without layers and banks, of those with layers, which older versions read too, of those with
banks, and of those whose rows hold parts, the newest."""


@dataclass(frozen=True)
class FeatureTable:
    """One modality's training rows.

    Attributes:
        features: (n, d) float32, in memory or read some rows at a time.
        items: (n,) int64, the number of the item each row belongs to; rows of any two tables with the same
            number are a pair, and an item may have several rows (captions).
    """

    features: MatrixLike
    items: Integers


@dataclass(frozen=True)
class ClassPrior:
    """What is known without any pair: a classifier on one encoder's features, and its classes in words.

    Attributes:
        head: the classifier, with C classes.
        text: (C, d_text) float32, the text encoder's features of the class names.
        modality: whose features the head reads.
    """

    head: ClassHead
    text: Matrix
    modality: Modality = Modality.IMAGE


@dataclass(frozen=True)
class TrainingData:
    """All that a method may look at: training rows only, never those held out.

    Attributes:
        tables: by modality; a modality may be missing.
        prior: where an encoder has a classifier.
        seed: of the folds of cross-validation; the same seed gives the same alignment.
        shared: modalities that one model reads, whose features are of one space already; in no order.
        teacher: features of the same items by another model, whose modalities are of one space; a row an item.
        parts: of the modalities whose rows hold parts, those of the prior too, how they do.
    """

    tables: Mapping[Modality, FeatureTable]
    prior: ClassPrior | None = None
    seed: int = 0
    shared: frozenset[Modality] = frozenset()
    teacher: Mapping[Modality, FeatureTable] = field(default_factory=dict)
    parts: Mapping[Modality, PartLayout] = field(default_factory=dict)

    def read(self, readings: Mapping[Modality, Reading]) -> TrainingData:
        """What is read of the rows, one reading for every modality whose rows hold parts; no parts are left."""
        tables = {
            modality: FeatureTable(readings[modality].of(table.features), table.items)
            if modality in readings
            else table
            for modality, table in self.tables.items()
        }
        prior = self.prior
        if prior is not None:
            if own := readings.get(prior.modality):
                prior = replace(prior, head=own.of_head(prior.head))
            if own := readings.get(Modality.TEXT):
                prior = replace(prior, text=own(prior.text))
        return replace(self, tables=tables, prior=prior, parts={})


@dataclass(frozen=True)
class Alignment:
    """Maps from each modality's features into one space, where the inner product is the similarity.

    Attributes:
        method: the name of the method that fitted it.
        projectors: by modality.
        report: how it came about (pairs, ridge, weights, scores ...), as JSON-able values.
        readings: of the modalities whose rows hold parts, what the projector is given of them.
    """

    method: str
    projectors: Mapping[Modality, Projector]
    report: Mapping[str, Any] = field(default_factory=dict)
    readings: Mapping[Modality, Reading] = field(default_factory=dict)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Those it can project."""
        return tuple(self.projectors)

    @property
    def dimension(self) -> int:
        """Columns of the aligned space."""
        return next(iter(self.projectors.values())).columns

    @cached_property
    def fingerprint(self) -> str:
        """32 hex digits that differ wherever two alignments project differently."""
        arrays, layout = self._flattened()
        digest = hashlib.sha256(json.dumps([self._format, self.method, layout]).encode())
        for name in sorted(arrays):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(arrays[name]).tobytes())
        return digest.hexdigest()[:32]

    def project(self, modality: Modality, features: Matrix) -> Matrix:
        """(n, dimension) float32 rows of unit norm in the aligned space; rows of nothing stay zero.

        Args:
            modality: whose features they are.
            features: (n, d) float32 rows as the encoder gives them.

        Raises:
            AlignmentError: the alignment has no such modality, or d is not what it was fitted on.
        """
        if modality not in self.projectors:
            known = ", ".join(self.projectors)
            raise AlignmentError(
                f"the alignment {self.method!r} was fitted for {known}, not for {modality}: "
                f"index items that have {modality}, then fit it again"
            )
        reading = self.readings.get(modality)
        return self.projectors[modality].project(reading.of(features) if reading else features)

    def reading(self, readings: Mapping[Modality, Reading]) -> Alignment:
        """The same of rows that hold parts; it was fitted on what these read of them."""
        own = {modality: readings[modality] for modality in self.projectors if modality in readings}
        return replace(self, readings=own)

    def save(self, path: Path) -> None:
        """Write the maps to a safetensors file, everything else into its JSON header."""
        arrays, layout = self._flattened()
        header = {
            "format": self._format,
            "method": self.method,
            "projectors": layout,
            "report": dict(self.report),
        }
        tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(tensors, path, metadata={"alignment": json.dumps(header)})

    @property
    def _format(self) -> int:
        projectors = self.projectors.values()
        if self.readings:
            return FORMAT
        if any(projector.bank_columns for projector in projectors):
            return BANKED
        layered = any(block.layers for projector in projectors for block in projector.blocks)
        return LAYERED if layered else LINEAR

    def _flattened(self) -> tuple[dict[str, Matrix], dict[str, Any]]:
        """The arrays by name, and what else it takes to put them together again."""
        arrays, layout = _flatten(self.projectors)
        for modality, reading in self.readings.items():
            layout[str(modality)]["parts"] = astuple(reading.parts)
            if reading.query is not None:
                arrays[f"{modality}.query"] = reading.query
        return arrays, layout

    @classmethod
    def load(cls, path: Path) -> Alignment:
        """Read what ``save`` wrote; it projects bit for bit the same.

        Raises:
            DamagedIndexError: the file is missing, cut short or not an alignment.
            IndexFormatError: a newer version wrote it.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                header = json.loads(file.metadata()["alignment"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            if header["format"] > FORMAT:
                raise IndexFormatError(
                    f"{path} has alignment format {header['format']}, this version reads up to {FORMAT}: "
                    "install a newer xmodal"
                )
            layout = header["projectors"]
            readings = {
                Modality(name): Reading(PartLayout(*entry["parts"]), arrays.get(f"{name}.query"))
                for name, entry in layout.items()
                if "parts" in entry
            }
            return cls(header["method"], _restore(arrays, layout), header["report"], readings)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise DamagedIndexError(
                f"{path} is not a whole alignment file ({error}): fit it again"
            ) from error


def _flatten(projectors: Mapping[Modality, Projector]) -> tuple[dict[str, Matrix], dict[str, Any]]:
    """The arrays by name, and what else it takes to put them together again."""
    arrays: dict[str, Matrix] = {}
    layout: dict[str, Any] = {}
    for modality, projector in projectors.items():
        mixture = projector.mixture
        layout[str(modality)] = {
            "dimension": projector.dimension,
            "blocks": len(projector.blocks),
            "top": mixture.top if mixture else None,
        }
        if any(block.layers for block in projector.blocks):
            layout[str(modality)]["layers"] = [
                [layer.activation for layer in block.layers] for block in projector.blocks
            ]
        if projector.bank_columns:
            layout[str(modality)]["banks"] = [
                [bank.weight, bank.level, bank.column] for bank in projector.banks
            ]
            layout[str(modality)]["bank_columns"] = projector.bank_columns
            arrays |= {f"{modality}.bank{number}": bank.rows for number, bank in enumerate(projector.banks)}
        arrays[f"{modality}.scales"] = projector.scales
        if mixture:
            arrays[f"{modality}.keys"], arrays[f"{modality}.bias"] = mixture.keys, mixture.bias
        for number, block in enumerate(projector.blocks):
            own = {"offset": block.offset, "linear": block.linear, "mixed": block.mixed}
            for depth, layer in enumerate(block.layers):
                own |= {f"{depth}.weights": layer.weights, f"{depth}.bias": layer.bias}
            arrays |= {
                f"{modality}.{number}.{name}": array for name, array in own.items() if array is not None
            }
    return arrays, layout


def _restore(arrays: Mapping[str, Matrix], layout: Mapping[str, Any]) -> dict[Modality, Projector]:
    projectors = {}
    for name, entry in layout.items():
        mixture = None
        if entry["top"] is not None:
            mixture = Mixture(arrays[f"{name}.keys"], arrays[f"{name}.bias"], entry["top"])
        activations = entry.get("layers", [[]] * entry["blocks"])
        blocks = tuple(
            _restored(arrays, f"{name}.{number}", activations[number]) for number in range(entry["blocks"])
        )
        banks = tuple(
            Bank(arrays[f"{name}.bank{number}"], *placed)
            for number, placed in enumerate(entry.get("banks", ()))
        )
        projectors[Modality(name)] = Projector(
            entry["dimension"], blocks, arrays[f"{name}.scales"], mixture, banks, entry.get("bank_columns", 0)
        )
    return projectors


def _restored(arrays: Mapping[str, Matrix], name: str, activations: Sequence[str]) -> Block:
    layers = tuple(
        Layer(arrays[f"{name}.{depth}.weights"], arrays[f"{name}.{depth}.bias"], activation)
        for depth, activation in enumerate(activations)
    )
    return Block(arrays[f"{name}.offset"], arrays.get(f"{name}.linear"), arrays.get(f"{name}.mixed"), layers)
