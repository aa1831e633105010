"""Training data of an alignment, and the fitted alignment."""

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

from retrieval.alignment.maps.layers import Layer
from retrieval.alignment.maps.pooling import PartPooling
from retrieval.alignment.maps.projector import Block, ClassMixture, Projector
from retrieval.alignment.maps.query_bank import QueryBank
from retrieval.arrays.lazy import MatrixLike
from retrieval.encoders.base import ClassHead, PartLayout
from retrieval.errors import AlignmentError, DamagedIndexError, IndexFormatError
from retrieval.types import Integers, Matrix, Modality

FORMAT_LINEAR, FORMAT_LAYERS, FORMAT_BANKS, FORMAT_PARTS = 1, 2, 3, 4
"""File formats: without layers and banks; with layers; with query banks; for rows that hold parts. A file gets the
lowest format that fits, so that older versions can read it."""

NEWEST_FORMAT = FORMAT_PARTS


@dataclass(frozen=True)
class FeatureTable:
    """Training rows of one modality.

    Attributes:
        features: (n, d) float32, in memory or read in blocks of rows.
        items: (n,) int64, the item number of each row. Rows of two tables with the same number are a pair; an item
            may have several rows (captions).
    """

    features: MatrixLike
    items: Integers


@dataclass(frozen=True)
class ClassPrior:
    """Knowledge that needs no pairs: a classifier on one encoder's features, and the names of its classes.

    Attributes:
        head: the classifier, with C classes.
        text: (C, d_text) float32, text encoder features of the class names.
        modality: the modality whose features the head classifies.
    """

    head: ClassHead
    text: Matrix
    modality: Modality = Modality.IMAGE


@dataclass(frozen=True)
class TrainingData:
    """Input of every alignment method: training rows only, never held-out rows.

    Attributes:
        tables: by modality; a modality may be missing.
        prior: None if no encoder has a classifier.
        seed: seed of the cross-validation folds; the same seed gives the same alignment.
        shared: modalities encoded by one model, whose features are already in one space; in no order.
        teacher: features of the same items from another model whose modalities share one space; one row per item.
        parts: layout of the parts by modality, for modalities whose rows hold parts (rows of the prior too).
    """

    tables: Mapping[Modality, FeatureTable]
    prior: ClassPrior | None = None
    seed: int = 0
    shared: frozenset[Modality] = frozenset()
    teacher: Mapping[Modality, FeatureTable] = field(default_factory=dict)
    parts: Mapping[Modality, PartLayout] = field(default_factory=dict)

    def pooled(self, poolings: Mapping[Modality, PartPooling]) -> TrainingData:
        """Return the data with pooled rows and no parts; every modality with parts needs a pooling."""
        tables = {
            modality: FeatureTable(poolings[modality].lazily(table.features), table.items)
            if modality in poolings
            else table
            for modality, table in self.tables.items()
        }
        prior = self.prior
        if prior is not None:
            if pooling := poolings.get(prior.modality):
                prior = replace(prior, head=pooling.adapt_head(prior.head))
            if pooling := poolings.get(Modality.TEXT):
                prior = replace(prior, text=pooling(prior.text))
        return replace(self, tables=tables, prior=prior, parts={})


@dataclass(frozen=True)
class Alignment:
    """Maps from each modality's features into one space, where the inner product is the similarity.

    Attributes:
        method: name of the method that fitted it.
        projectors: by modality.
        report: details of the fit (pairs, ridge, weights, scores ...), as JSON-able values.
        poolings: for modalities whose rows hold parts, the pooling applied before the projector.
    """

    method: str
    projectors: Mapping[Modality, Projector]
    report: Mapping[str, Any] = field(default_factory=dict)
    poolings: Mapping[Modality, PartPooling] = field(default_factory=dict)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Modalities that it can project."""
        return tuple(self.projectors)

    @property
    def dimension(self) -> int:
        """Number of columns of the aligned space."""
        return next(iter(self.projectors.values())).columns

    @cached_property
    def fingerprint(self) -> str:
        """32 hex digits; they differ for two alignments that project differently."""
        arrays, layout = self._flatten()
        digest = hashlib.sha256(json.dumps([self._format, self.method, layout]).encode())
        for name in sorted(arrays):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(arrays[name]).tobytes())
        return digest.hexdigest()[:32]

    def project(self, modality: Modality, features: Matrix) -> Matrix:
        """Return (n, dimension) float32 rows of unit norm in the aligned space; zero rows stay zero.

        Args:
            modality: the modality of the features.
            features: (n, d) float32 rows from the encoder.

        Raises:
            AlignmentError: the alignment has no such modality, or it was fitted on another d.
        """
        if modality not in self.projectors:
            known = ", ".join(self.projectors)
            raise AlignmentError(
                f"the alignment {self.method!r} was fitted for {known}, not for {modality}: "
                f"index items that have {modality}, then fit it again"
            )
        pooling = self.poolings.get(modality)
        return self.projectors[modality].project(pooling.lazily(features) if pooling else features)

    def with_pooling(self, poolings: Mapping[Modality, PartPooling]) -> Alignment:
        """Return the alignment for rows that hold parts; it was fitted on the rows these poolings return."""
        used = {modality: poolings[modality] for modality in self.projectors if modality in poolings}
        return replace(self, poolings=used)

    def save(self, path: Path) -> None:
        """Write the maps to a safetensors file, and everything else to its JSON header."""
        arrays, layout = self._flatten()
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
        if self.poolings:
            return FORMAT_PARTS
        if any(projector.bank_columns for projector in projectors):
            return FORMAT_BANKS
        layered = any(block.layers for projector in projectors for block in projector.blocks)
        return FORMAT_LAYERS if layered else FORMAT_LINEAR

    def _flatten(self) -> tuple[dict[str, Matrix], dict[str, Any]]:
        """Return the arrays by name, and the layout that is needed to restore the maps."""
        arrays, layout = _flatten_projectors(self.projectors)
        for modality, pooling in self.poolings.items():
            layout[str(modality)]["parts"] = astuple(pooling.parts)
            if pooling.query is not None:
                arrays[f"{modality}.query"] = pooling.query
        return arrays, layout

    @classmethod
    def load(cls, path: Path) -> Alignment:
        """Read a file that ``save`` wrote; the alignment projects bit for bit the same.

        Raises:
            DamagedIndexError: the file is missing, truncated or not an alignment.
            IndexFormatError: a newer version wrote it.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                header = json.loads(file.metadata()["alignment"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            if header["format"] > NEWEST_FORMAT:
                raise IndexFormatError(
                    f"{path} has alignment format {header['format']}, this version reads up to {NEWEST_FORMAT}: "
                    "install a newer xmodal"
                )
            layout = header["projectors"]
            poolings = {
                Modality(name): PartPooling(PartLayout(*entry["parts"]), arrays.get(f"{name}.query"))
                for name, entry in layout.items()
                if "parts" in entry
            }
            projectors = _restore_projectors(arrays, layout)
            return cls(header["method"], projectors, header["report"], poolings)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise DamagedIndexError(
                f"{path} is not a complete alignment file ({error}): fit it again"
            ) from error


def _flatten_projectors(
    projectors: Mapping[Modality, Projector],
) -> tuple[dict[str, Matrix], dict[str, Any]]:
    """Return the arrays by name, and the layout that is needed to restore the projectors."""
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
                [bank.weight, bank.mean_similarity, bank.column] for bank in projector.banks
            ]
            layout[str(modality)]["bank_columns"] = projector.bank_columns
            arrays |= {f"{modality}.bank{number}": bank.rows for number, bank in enumerate(projector.banks)}
        arrays[f"{modality}.scales"] = projector.scales
        if mixture:
            arrays[f"{modality}.keys"], arrays[f"{modality}.bias"] = mixture.keys, mixture.bias
        for number, block in enumerate(projector.blocks):
            block_arrays = {"offset": block.offset, "linear": block.linear, "mixed": block.class_linear}
            for depth, layer in enumerate(block.layers):
                block_arrays |= {f"{depth}.weights": layer.weights, f"{depth}.bias": layer.bias}
            arrays |= {
                f"{modality}.{number}.{name}": array
                for name, array in block_arrays.items()
                if array is not None
            }
    return arrays, layout


def _restore_projectors(arrays: Mapping[str, Matrix], layout: Mapping[str, Any]) -> dict[Modality, Projector]:
    projectors = {}
    for name, entry in layout.items():
        mixture = None
        if entry["top"] is not None:
            mixture = ClassMixture(arrays[f"{name}.keys"], arrays[f"{name}.bias"], entry["top"])
        activations = entry.get("layers", [[]] * entry["blocks"])
        blocks = tuple(
            _restore_block(arrays, f"{name}.{number}", activations[number])
            for number in range(entry["blocks"])
        )
        banks = tuple(
            QueryBank(arrays[f"{name}.bank{number}"], *settings)
            for number, settings in enumerate(entry.get("banks", ()))
        )
        projectors[Modality(name)] = Projector(
            entry["dimension"], blocks, arrays[f"{name}.scales"], mixture, banks, entry.get("bank_columns", 0)
        )
    return projectors


def _restore_block(arrays: Mapping[str, Matrix], name: str, activations: Sequence[str]) -> Block:
    layers = tuple(
        Layer(arrays[f"{name}.{depth}.weights"], arrays[f"{name}.{depth}.bias"], activation)
        for depth, activation in enumerate(activations)
    )
    return Block(arrays[f"{name}.offset"], arrays.get(f"{name}.linear"), arrays.get(f"{name}.mixed"), layers)
