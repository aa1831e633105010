"""Concatenation of whitened modalities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from retrieval.arrays.norms import unit
from retrieval.fusion.base import ArrayFusion, Parts
from retrieval.types import Matrix

RIDGE = 0.1
"""Ridge added to each variance before whitening, as a share of the mean of the variances that are not zero."""


@dataclass(frozen=True)
class Concatenated(ArrayFusion):
    """z = unit([W_1 (x_1 - mu_1), ..., W_m (x_m - mu_m)]); a missing part is replaced by the unit mean of the others.

    Attributes:
        centers: (m, d) float32.
        whitenings: (m, d, d) float32.
    """

    centers: Matrix
    whitenings: Matrix

    def __call__(self, parts: Parts) -> Matrix:
        """Return (n, m * d) float32 of unit norm."""
        rows = np.einsum(
            "nmd,mde->nme", parts.impute_missing() - self.centers, self.whitenings, optimize=True
        )
        flat: Matrix = rows.reshape(len(rows), -1)
        return unit(flat)


def fit_concat(parts: Parts, _seed: int) -> Concatenated:
    """Fit means and covariances, with a ridge, to the parts present; a single item gives no whitening."""
    centers, whitenings = [], []
    for at in range(len(parts.modalities)):
        vectors = parts.vectors[parts.present[:, at], at]
        center = vectors.mean(axis=0) if len(vectors) > 1 else np.zeros(parts.vectors.shape[2], np.float32)
        values, axes = linalg.eigh(np.cov(vectors.T) if len(vectors) > 1 else np.eye(len(center)))
        varying = values > 1e-9 * max(values[-1], 1e-12)
        ridge = RIDGE * values[varying].mean() if varying.any() else 1.0
        scales = np.sqrt(ridge / (values.clip(0) + ridge))
        centers.append(center)
        whitenings.append((axes * scales) @ axes.T)
    return Concatenated(np.stack(centers).astype(np.float32), np.stack(whitenings).astype(np.float32))
