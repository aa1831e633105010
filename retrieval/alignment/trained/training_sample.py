"""A sample of the training data in memory: fewer items and fewer columns, enough to train a few thousand numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg

from retrieval.alignment.base import FeatureTable, TrainingData
from retrieval.alignment.class_prior import FeatureMap
from retrieval.encoders.base import PartLayout
from retrieval.types import Matrix, Modality

WHOLE_COLUMNS, PART_COLUMNS = 512, 256
"""Most principal axes that are kept of a whole and of a part."""


class IdentityLift(FeatureMap):
    """A lift that leaves rows as they are, without scaling them to unit norm."""

    def apply(self, features: Matrix) -> Matrix:
        """Return the rows themselves."""
        return features


@dataclass(frozen=True)
class Sample:
    """Training data of some items, projected onto few axes.

    Attributes:
        data: every row divided by the norm of its whole. The class prior is left out, for it does not fit these axes.
        axes: (columns, k) orthonormal float32 axes of the parts, by modality; only modalities with parts.
    """

    data: TrainingData
    axes: Mapping[Modality, Matrix]

    @classmethod
    def of(cls, data: TrainingData, count: int) -> Sample:
        """Sample at most ``count`` of the items that have several modalities."""
        item_lists = [np.unique(table.items) for table in data.tables.values()]
        items, table_counts = np.unique(np.concatenate(item_lists), return_counts=True)
        sampled_items = np.random.default_rng(data.seed).permutation(items[table_counts > 1])[:count]
        tables, layouts, axes = {}, {}, {}
        for modality, table in data.tables.items():
            selected = np.flatnonzero(np.isin(table.items, sampled_items))
            rows = np.asarray(table.features[selected], np.float32)
            layout = data.parts.get(modality)
            whole = rows[:, : layout.whole] if layout else rows
            norms = np.maximum(np.linalg.norm(whole, axis=1, keepdims=True), 1e-12)
            columns = [whole / norms @ _principal_axes(whole / norms, WHOLE_COLUMNS)]
            if layout:
                parts = layout.split(rows) / norms[:, None]
                axes[modality] = _principal_axes(parts.reshape(-1, layout.columns), PART_COLUMNS)
                parts = parts @ axes[modality]
                layouts[modality] = PartLayout.after_whole(columns[0].shape[1], layout.count, parts.shape[2])
                columns.append(parts.reshape(len(rows), layout.count * parts.shape[2]))
            tables[modality] = FeatureTable(np.concatenate(columns, axis=1), table.items[selected])
        return cls(replace(data, tables=tables, parts=layouts, prior=None), axes)


def _principal_axes(rows: Matrix, max_axes: int) -> Matrix:
    """Return (d, k) orthonormal float32 axes along which (n, d) rows are largest, at most ``max_axes``."""
    size = rows.shape[1]
    if size <= max_axes:
        return np.eye(size, dtype=np.float32)
    largest = linalg.eigh(rows.T @ rows, subset_by_index=(size - max_axes, size - 1), check_finite=False)
    return np.asarray(largest[1], np.float32)
