"""Kernel canonical correlation analysis: CCA of random features that approximate a Gaussian kernel.

Lopez-Paz et al., "Randomized nonlinear component analysis" (2014), with the features of Rahimi and Recht, "Random
features for large-scale kernel machines" (2007): for phi(x) = sqrt(2 / D) cos(x W + b), with W Gaussian and b uniform,
the inner products converge to exp(-|x - y|^2 / (2 s^2)) as D grows. Unlike a kernel matrix, the features need memory
that does not depend on the number of pairs. After them the method is the same as ``cca``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from retrieval.alignment.base import Alignment, FeatureTable, TrainingData
from retrieval.alignment.cca.fitting import Report, from_pairs
from retrieval.alignment.cca.linked_modalities import Connections, connect
from retrieval.alignment.class_prior import FeatureMap
from retrieval.alignment.maps.layers import Layer
from retrieval.alignment.maps.subspaces import Subspace
from retrieval.alignment.methods.auto import canonical_parts
from retrieval.arrays.norms import unit
from retrieval.types import Matrix

FEATURES = 512
"""D, the number of random features of a view."""

WIDTHS = (1.0, 2.0, 0.5)
"""Kernel widths to try, in units of the median distance of two rows; the first is used without validation."""

DISTANCE_ROWS = 500
"""Most rows from which the median distance is estimated."""


def fit(data: TrainingData) -> Alignment:
    """Fit CCA to random features of the pairs, at the kernel width that cross-validation chooses.

    Raises:
        AlignmentError: as ``from_pairs``.
    """

    def fit_width(width: float, connections: Connections) -> tuple[list[Subspace], Report]:
        random = np.random.default_rng(data.seed)
        tables = {modality: data.tables[modality] for modality in connections.modalities}
        lifted = {}
        for modality, table in tables.items():
            columns = table.features.shape[1]
            layer = random_features(columns, width * _median_distance(table, random), random)
            lifted[modality] = FeatureMap(columns, layers=(layer,))
        reconnected = connect(tables, lifted, ())
        parts, report = canonical_parts(reconnected, lifted, data.seed)
        return _rename_parts(parts), {**report, "width": width, "features": FEATURES}

    def fit_best_width(connections: Connections) -> tuple[list[Subspace], Report]:
        widths = WIDTHS if connections.can_validate else WIDTHS[:1]
        return min((fit_width(width, connections) for width in widths), key=lambda each: _loss(each[1]))

    return from_pairs("kcca", data, fit_best_width)


def random_features(
    dimension: int, width: float, random: np.random.Generator, count: int = FEATURES
) -> Layer:
    """Return a layer from (n, dimension) to (n, count) rows; their inner products times 2 / count approximate a kernel.

    The kernel is Gaussian.

    Args:
        dimension: columns of the rows.
        width: s, the standard deviation of the kernel.
        random: draws W and b.
        count: D, the number of features.
    """
    weights = random.standard_normal((dimension, count), np.float32) / np.float32(width)
    return Layer(weights, random.uniform(0, 2 * np.pi, count).astype(np.float32), "cos")


def _median_distance(table: FeatureTable, random: np.random.Generator) -> float:
    """Return the median distance of two different unit rows; 1.0 if there are no two."""
    chosen = np.sort(random.permutation(len(table.items))[:DISTANCE_ROWS])
    rows: Matrix = unit(np.asarray(table.features[chosen], np.float32))
    squares = np.maximum(2 - 2 * rows @ rows.T, 0)
    distinct = squares[squares > 1e-6]
    return float(np.sqrt(np.median(distinct))) if len(distinct) else 1.0


def _rename_parts(parts: list[Subspace]) -> list[Subspace]:
    return [replace(part, name=part.name.replace("cca", "kcca")) for part in parts]


def _loss(report: Report) -> float:
    return float(report.get("validation_loss", 0.0))
