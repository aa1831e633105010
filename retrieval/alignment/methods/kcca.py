"""Kernel canonical correlation analysis: CCA of random features that stand for a Gaussian kernel.

Lopez-Paz et al., "Randomized nonlinear component analysis" (2014), with the features of Rahimi and Recht, "Random
features for large-scale kernel machines" (2007): the inner products of phi(x) = sqrt(2 / D) cos(x W + b), W Gaussian
and b uniform, tend to exp(-|x - y|^2 / (2 s^2)) as D grows. Unlike a kernel matrix they take memory that does not
depend on the number of pairs. Everything after them is what ``cca`` does.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from retrieval.alignment.base import Alignment, FeatureTable, TrainingData
from retrieval.alignment.class_prior import FeatureMap
from retrieval.alignment.fitting import Report, from_pairs
from retrieval.alignment.linked_modalities import Connections, connect
from retrieval.alignment.maps.layers import Layer
from retrieval.alignment.maps.subspaces import Subspace
from retrieval.alignment.methods.auto import canonical_parts
from retrieval.arrays.norms import unit
from retrieval.types import Matrix

FEATURES = 512
"""D, random features a view."""

WIDTHS = (1.0, 2.0, 0.5)
"""Kernel widths that are tried, in medians of the distance of two rows; the first where nothing can be tried."""

SAMPLE = 500
"""Rows whose distances tell the median."""


def fit(data: TrainingData) -> Alignment:
    """Canonical correlations of random features of the pairs, at the width that held-out pairs speak for.

    Raises:
        AlignmentError: as ``from_pairs``.
    """

    def at(width: float, connections: Connections) -> tuple[list[Subspace], Report]:
        random = np.random.default_rng(data.seed)
        tables = {modality: data.tables[modality] for modality in connections.modalities}
        lifted = {
            modality: FeatureMap(
                table.features.shape[1],
                layers=(random_features(table.features.shape[1], width * _distance(table, random), random),),
            )
            for modality, table in tables.items()
        }
        same = connect(tables, lifted, ())
        parts, report = canonical_parts(same, lifted, data.seed)
        return _named(parts), {**report, "width": width, "features": FEATURES}

    def best(connections: Connections) -> tuple[list[Subspace], Report]:
        widths = WIDTHS if connections.can_validate else WIDTHS[:1]
        return min((at(width, connections) for width in widths), key=lambda each: _loss(each[1]))

    return from_pairs("kcca", data, best)


def random_features(
    dimension: int, width: float, random: np.random.Generator, count: int = FEATURES
) -> Layer:
    """Rows (n, dimension) to (n, count) whose inner products, times 2 / count, tend to a Gaussian kernel.

    Args:
        dimension: columns of the rows.
        width: s, the kernel's standard deviation.
        random: where the features come from.
        count: D.
    """
    weights = random.standard_normal((dimension, count), np.float32) / np.float32(width)
    return Layer(weights, random.uniform(0, 2 * np.pi, count).astype(np.float32), "cos")


def _distance(table: FeatureTable, random: np.random.Generator) -> float:
    """The median distance of two unit rows that differ."""
    chosen = np.sort(random.permutation(len(table.items))[:SAMPLE])
    rows: Matrix = unit(np.asarray(table.features[chosen], np.float32))
    squares = np.maximum(2 - 2 * rows @ rows.T, 0)
    apart = squares[squares > 1e-6]
    return float(np.sqrt(np.median(apart))) if len(apart) else 1.0


def _named(parts: list[Subspace]) -> list[Subspace]:
    return [replace(part, name=part.name.replace("cca", "kcca")) for part in parts]


def _loss(report: Report) -> float:
    return float(report.get("validation_loss", 0.0))
