"""Nonlinear layers of a map: arrays and the name of a function, applied with NumPy only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from retrieval.types import Matrix

ACTIVATIONS: Mapping[str, Callable[..., Matrix]] = MappingProxyType(
    {"cos": np.cos, "tanh": np.tanh, "identity": np.positive}
)
"""Activation functions by the name that a saved layer holds."""


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
        """Return (n, h) float32 outputs for (n, d) float32 rows."""
        out = rows @ self.weights
        out += self.bias
        return ACTIVATIONS[self.activation](out, out=out)


def apply_layers(layers: Sequence[Layer], rows: Matrix) -> Matrix:
    """Apply all layers in order; without layers, return the rows unchanged."""
    for layer in layers:
        rows = layer.apply(rows)
    return rows
