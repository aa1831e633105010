"""Fewer items, and fewer columns of them: what is enough to learn a few thousand numbers from, held in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg

from retrieval.alignment.base import FeatureTable, TrainingData
from retrieval.alignment.class_prior import FeatureMap
from retrieval.encoders.base import PartLayout
from retrieval.types import Matrix, Modality

WHOLE, PART = 512, 256
"""Columns of a whole and of a part, at most: their principal axes."""


class AsIs(FeatureMap):
    """Rows that are not brought to unit norm."""

    def apply(self, features: Matrix) -> Matrix:
        """The rows themselves."""
        return features


@dataclass(frozen=True)
class Sample:
    """Training data of some items, along few axes.

    Attributes:
        data: every row divided by the norm of its whole; without the prior, which knows no such axes.
        axes: of each modality with parts, (columns, k) orthonormal float32, those that its parts are along.
    """

    data: TrainingData
    axes: Mapping[Modality, Matrix]

    @classmethod
    def of(cls, data: TrainingData, count: int) -> Sample:
        """At most ``count`` of the items that several modalities have."""
        each = [np.unique(table.items) for table in data.tables.values()]
        items, found = np.unique(np.concatenate(each), return_counts=True)
        kept = np.random.default_rng(data.seed).permutation(items[found > 1])[:count]
        tables, layouts, axes = {}, {}, {}
        for modality, table in data.tables.items():
            chosen = np.flatnonzero(np.isin(table.items, kept))
            rows = np.asarray(table.features[chosen], np.float32)
            own = data.parts.get(modality)
            whole = rows[:, : own.whole] if own else rows
            norms = np.maximum(np.linalg.norm(whole, axis=1, keepdims=True), 1e-12)
            columns = [whole / norms @ _axes(whole / norms, WHOLE)]
            if own:
                parts = own.split(rows) / norms[:, None]
                axes[modality] = _axes(parts.reshape(-1, own.columns), PART)
                parts = parts @ axes[modality]
                layouts[modality] = PartLayout.after_whole(columns[0].shape[1], own.count, parts.shape[2])
                columns.append(parts.reshape(len(rows), own.count * parts.shape[2]))
            tables[modality] = FeatureTable(np.concatenate(columns, axis=1), table.items[chosen])
        return cls(replace(data, tables=tables, parts=layouts, prior=None), axes)


def _axes(rows: Matrix, most: int) -> Matrix:
    """(d, k) orthonormal float32: the axes along which (n, d) rows are largest, all where they are few."""
    size = rows.shape[1]
    if size <= most:
        return np.eye(size, dtype=np.float32)
    largest = linalg.eigh(rows.T @ rows, subset_by_index=(size - most, size - 1), check_finite=False)
    return np.asarray(largest[1], np.float32)
