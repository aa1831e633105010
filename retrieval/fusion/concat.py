"""Modalities side by side, each whitened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from retrieval.arrays.norms import unit
from retrieval.fusion.base import ArrayFusion, Parts
from retrieval.types import Matrix

RIDGE = 0.1
"""Of the mean variance of what varies, added to each before it is evened out."""


@dataclass(frozen=True)
class Concatenated(ArrayFusion):
    """z = unit([W_1 (x_1 - mu_1), ..., W_m (x_m - mu_m)]), what lacks filled by the mean of what is there.

    Attributes:
        centers: (m, d) float32.
        whitenings: (m, d, d) float32.
    """

    centers: Matrix
    whitenings: Matrix

    def __call__(self, parts: Parts) -> Matrix:
        """(n, m * d) float32 of unit norm."""
        rows = np.einsum(
            "nmd,mde->nme", parts.impute_missing() - self.centers, self.whitenings, optimize=True
        )
        flat: Matrix = rows.reshape(len(rows), -1)
        return unit(flat)


def fit_concat(parts: Parts, _seed: int) -> Concatenated:
    """Means and covariances of the parts that there are; with a ridge, and of one item no whitening at all."""
    centers, whitenings = [], []
    for at in range(len(parts.modalities)):
        own = parts.vectors[parts.present[:, at], at]
        center = own.mean(axis=0) if len(own) > 1 else np.zeros(parts.vectors.shape[2], np.float32)
        values, axes = linalg.eigh(np.cov(own.T) if len(own) > 1 else np.eye(len(center)))
        varying = values > 1e-9 * max(values[-1], 1e-12)
        ridge = RIDGE * values[varying].mean() if varying.any() else 1.0
        scales = np.sqrt(ridge / (values.clip(0) + ridge))
        centers.append(center)
        whitenings.append((axes * scales) @ axes.T)
    return Concatenated(np.stack(centers).astype(np.float32), np.stack(whitenings).astype(np.float32))
