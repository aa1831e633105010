"""Projectors: how feature rows of one modality are mapped into the aligned space. Arrays only, without fitting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.alignment.maps.layers import Layer, apply_layers
from retrieval.alignment.maps.query_bank import QueryBank
from retrieval.arrays.lazy import MatrixLike, slices
from retrieval.arrays.norms import unit
from retrieval.errors import AlignmentError
from retrieval.types import Matrix

BLOCK_ROWS = 4096
"""Number of rows processed at a time, because a table may be larger than memory."""


@dataclass(frozen=True)
class ClassMixture:
    """Weights over C classes for each row: the softmax of its largest logits.

    p = softmax over the ``top`` largest of (x @ keys + bias), 0 elsewhere.

    Attributes:
        keys: (d, C) float32, already divided by the temperature.
        bias: (C,) float32, already divided by the temperature.
        top: number of classes with a weight, at least 1; classes that tie with the last one have a weight too.
    """

    keys: Matrix
    bias: Matrix
    top: int

    def class_weights(self, rows: Matrix) -> Matrix:
        """Return (n, C) non-negative weights for (n, d) rows; each row sums to 1."""
        logits = rows @ self.keys + self.bias
        logits -= logits.max(axis=1, keepdims=True)
        if self.top < logits.shape[1]:
            smallest = np.partition(logits, -self.top, axis=1)[:, -self.top, None]
            logits[logits < smallest] = -np.inf
        weights: Matrix = np.exp(logits, out=logits)
        weights /= weights.sum(axis=1, keepdims=True)
        return weights


@dataclass(frozen=True)
class Block:
    """One unit vector per row: unit(f(unit(x)) @ linear + class_weights(x) @ class_linear - offset).

    f is the layers, applied in order.

    Attributes:
        offset: (k,) float32.
        linear: (d, k) float32, where d is the output columns of the last layer, or the feature columns if there is
            no layer. None if the features are used only through their class weights.
        class_linear: (C, k) float32; None if the class weights are not used.
        layers: layers before ``linear``; usually none.
    """

    offset: Matrix
    linear: Matrix | None = None
    class_linear: Matrix | None = None
    layers: tuple[Layer, ...] = ()

    def apply(self, rows: Matrix, class_weights: Matrix | None) -> Matrix:
        """Return (n, k) unit rows for (n, d) unit feature rows and their (n, C) class weights."""
        out = np.repeat(-self.offset[None], len(rows), axis=0)
        if self.linear is not None:
            out += apply_layers(self.layers, rows) @ self.linear
        if self.class_linear is not None and class_weights is not None:
            out += class_weights @ self.class_linear
        return unit(out)


def identity_block(size: int) -> Block:
    """Return the block that keeps the features as they are, at unit norm."""
    return Block(np.zeros(size, np.float32), linear=np.eye(size, dtype=np.float32))


@dataclass(frozen=True)
class Projector:
    """The map of one modality: weighted unit blocks side by side.

    z = unit([s_1 block_1(x), s_2 block_2(x), ...]). The inner product of two rows z, of the same or of different
    modalities, is the sum of the blocks' cosines weighted by s_b squared: a sum of similarities as one vector space.
    With query banks the row is unit([z, columns of the banks]). Inner products are then reduced by the neighbour
    similarities and divided by the norms: see ``hub_correction``.

    Attributes:
        dimension: d, the number of columns of the feature rows.
        blocks: one or more; block b has the same number of columns in every modality.
        scales: (B,) float32, the s_b; their squares sum to 1.
        mixture: required if a block uses class weights.
        banks: query banks, one for each other modality with enough pairs; see ``hub_correction``.
        bank_columns: number of columns for the banks of all modalities.
    """

    dimension: int
    blocks: tuple[Block, ...]
    scales: Matrix
    mixture: ClassMixture | None = None
    banks: tuple[QueryBank, ...] = ()
    bank_columns: int = 0

    @property
    def columns(self) -> int:
        """Number of columns of a projected row."""
        return sum(len(block.offset) for block in self.blocks) + self.bank_columns

    def project_blocks(self, features: Matrix) -> list[Matrix]:
        """Return the (n, k_b) float32 unit rows of each block for (n, dimension) feature rows, all at once.

        Raises:
            AlignmentError: the rows have another dimension.
        """
        if features.ndim != 2 or features.shape[1] != self.dimension:
            raise AlignmentError(
                f"features have shape {features.shape}, but the alignment was fitted on {self.dimension} "
                "columns: use the encoder it was fitted with, or fit it again"
            )
        raw = np.asarray(features, np.float32)
        class_weights = self.mixture.class_weights(raw) if self.mixture else None
        rows = unit(raw)
        return [block.apply(rows, class_weights) for block in self.blocks]

    def project(self, features: MatrixLike) -> Matrix:
        """Return (n, columns) float32 unit rows for (n, dimension) float32 feature rows, read in blocks.

        Raises:
            AlignmentError: the rows have another dimension.
        """
        out = np.empty((len(features), self.columns), np.float32)
        for chunk in slices(len(features), BLOCK_ROWS):
            blocks = self.project_blocks(features[chunk])
            weighted = [scale * block for scale, block in zip(self.scales, blocks, strict=True)]
            out[chunk] = self._append_bank_columns(unit(np.concatenate(weighted, axis=1)))
        return out

    def _append_bank_columns(self, rows: Matrix) -> Matrix:
        if not self.bank_columns:
            return rows
        added = np.zeros((len(rows), self.bank_columns), np.float32)
        for bank in self.banks:
            added += bank.columns(rows, self.bank_columns)
        added[~rows.any(axis=1)] = 0  # zero rows stay zero
        return unit(np.concatenate([rows, added], axis=1))
