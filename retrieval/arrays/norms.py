"""Scaling vectors to unit norm."""

from __future__ import annotations

import numpy as np

from retrieval.types import Matrix


def unit(rows: Matrix) -> Matrix:
    """Scale (n, d) rows to norm 1; rows of norm (almost) 0 become zeros instead of NaN."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Matrix = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 1e-12)
    return scaled
