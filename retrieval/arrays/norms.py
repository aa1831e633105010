"""Vectors scaled to unit norm."""

from __future__ import annotations

import numpy as np

from retrieval.types import Matrix


def unit(rows: Matrix) -> Matrix:
    """(n, d) rows scaled to norm 1; rows of (almost) nothing become zeros instead of NaN."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Matrix = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 1e-12)
    return scaled
