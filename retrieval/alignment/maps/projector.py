"""How feature rows of one modality enter the aligned space: numbers only, nothing of how they were fitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.alignment.maps.bank import Bank
from retrieval.alignment.maps.layers import Layer, through
from retrieval.arrays.lazy import MatrixLike, slices
from retrieval.arrays.norms import unit
from retrieval.errors import AlignmentError
from retrieval.types import Matrix

BLOCK_ROWS = 4096
"""Rows handled at a time, wherever a table may be larger than memory."""


@dataclass(frozen=True)
class Mixture:
    """Shares of C classes that a row is made of: the softmax of its largest logits.

    p = softmax over the ``top`` largest of (x @ keys + bias), 0 elsewhere.

    Attributes:
        keys: (d, C) float32, the temperature divided in.
        bias: (C,) float32, the temperature divided in.
        top: classes that share, at least 1; ties with the last of them share too.
    """

    keys: Matrix
    bias: Matrix
    top: int

    def shares(self, rows: Matrix) -> Matrix:
        """(n, C) non-negative shares of (n, d) rows, each row summing to 1."""
        logits = rows @ self.keys + self.bias
        logits -= logits.max(axis=1, keepdims=True)
        if self.top < logits.shape[1]:
            least = np.partition(logits, -self.top, axis=1)[:, -self.top, None]
            logits[logits < least] = -np.inf
        shares: Matrix = np.exp(logits, out=logits)
        shares /= shares.sum(axis=1, keepdims=True)
        return shares


@dataclass(frozen=True)
class Block:
    """One unit vector a row: unit(f(unit(x)) @ linear + shares(x) @ mixed - offset), f being the layers in turn.

    Attributes:
        offset: (k,) float32.
        linear: (d, k) float32, d the columns that the last layer gives, those of the features where there is none;
            None where the features enter through their shares alone.
        mixed: (C, k) float32; None where the shares play no part.
        layers: what comes before ``linear``; mostly nothing.
    """

    offset: Matrix
    linear: Matrix | None = None
    mixed: Matrix | None = None
    layers: tuple[Layer, ...] = ()

    def apply(self, rows: Matrix, shares: Matrix | None) -> Matrix:
        """(n, k) unit rows of (n, d) unit feature rows and their (n, C) shares."""
        out = np.repeat(-self.offset[None], len(rows), axis=0)
        if self.linear is not None:
            out += through(self.layers, rows) @ self.linear
        if self.mixed is not None and shares is not None:
            out += shares @ self.mixed
        return unit(out)


def unchanged(size: int) -> Block:
    """The features themselves, at unit norm."""
    return Block(np.zeros(size, np.float32), linear=np.eye(size, dtype=np.float32))


@dataclass(frozen=True)
class Projector:
    """The map of one modality: weighted unit blocks side by side.

    z = unit([s_1 block_1(x), s_2 block_2(x), ...]). The inner product of two such rows, of whatever modality,
    is the sum of the blocks' cosines weighted by s_b squared: a sum of similarities as one vector space. With banks
    it is unit([z, their columns]), and inner products are those less nearness, by the norms: see ``hubness``.

    Attributes:
        dimension: d, columns of the feature rows it takes.
        blocks: one or more; block b of every modality has the same number of columns.
        scales: (B,) float32, s_b, their squares summing to 1.
        mixture: where a block reads shares.
        banks: of the modalities to whose rows it matters how near they are to all of this one's; see ``hubness``.
        bank_columns: of the space, for all modalities' banks.
    """

    dimension: int
    blocks: tuple[Block, ...]
    scales: Matrix
    mixture: Mixture | None = None
    banks: tuple[Bank, ...] = ()
    bank_columns: int = 0

    @property
    def columns(self) -> int:
        """Columns of what it returns."""
        return sum(len(block.offset) for block in self.blocks) + self.bank_columns

    def parts(self, features: Matrix) -> list[Matrix]:
        """The (n, k_b) float32 unit rows of each block, of (n, dimension) feature rows; all at once.

        Raises:
            AlignmentError: the rows have another dimension.
        """
        if features.ndim != 2 or features.shape[1] != self.dimension:
            raise AlignmentError(
                f"features have shape {features.shape}, but the alignment was fitted on {self.dimension} "
                "columns: use the encoder it was fitted with, or fit it again"
            )
        raw = np.asarray(features, np.float32)
        shares = self.mixture.shares(raw) if self.mixture else None
        rows = unit(raw)
        return [block.apply(rows, shares) for block in self.blocks]

    def project(self, features: MatrixLike) -> Matrix:
        """(n, columns) float32 unit rows of (n, dimension) float32 feature rows, read some at a time.

        Raises:
            AlignmentError: the rows have another dimension.
        """
        out = np.empty((len(features), self.columns), np.float32)
        for chunk in slices(len(features), BLOCK_ROWS):
            parts = self.parts(features[chunk])
            weighted = [scale * part for scale, part in zip(self.scales, parts, strict=True)]
            out[chunk] = self._banked(unit(np.concatenate(weighted, axis=1)))
        return out

    def _banked(self, rows: Matrix) -> Matrix:
        if not self.bank_columns:
            return rows
        added = np.zeros((len(rows), self.bank_columns), np.float32)
        for bank in self.banks:
            added += bank.columns(rows, self.bank_columns)
        added[~rows.any(axis=1)] = 0  # rows of nothing stay zero
        return unit(np.concatenate([rows, added], axis=1))
