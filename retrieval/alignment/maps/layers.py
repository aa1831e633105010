"""Nonlinear layers of a map: numbers and the name of a function, applied by NumPy alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from retrieval.types import Matrix

ACTIVATIONS: Mapping[str, Callable[..., Matrix]] = MappingProxyType(
    {"cos": np.cos, "tanh": np.tanh, "identity": np.positive}
)
"""What a saved layer may name."""


@dataclass(frozen=True)
class Layer:
    """y = activation(x @ weights + bias).

    Attributes:
        weights: (d, h) float32.
        bias: (h,) float32.
        activation: a name in ``ACTIVATIONS``.
    """

    weights: Matrix
    bias: Matrix
    activation: str

    def apply(self, rows: Matrix) -> Matrix:
        """(n, h) float32 of (n, d) float32 rows."""
        out = rows @ self.weights
        out += self.bias
        return ACTIVATIONS[self.activation](out, out=out)


def through(layers: Sequence[Layer], rows: Matrix) -> Matrix:
    """Rows after all layers, first to last; the same rows where there is none."""
    for layer in layers:
        rows = layer.apply(rows)
    return rows
