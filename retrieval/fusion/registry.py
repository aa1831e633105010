"""Every way to fuse, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType

from retrieval.fusion.base import Fusion, Parts
from retrieval.naming import known


@dataclass(frozen=True)
class Method:
    """One way to fit a fusion.

    Attributes:
        module: of this package that has it; loaded when it is used, for some need PyTorch.
        description: one line.
    """

    module: str
    description: str

    def fit(self, parts: Parts, seed: int) -> Fusion:
        """Fit it to items that may be learned from."""
        fit: Callable[[Parts, int], Fusion] = getattr(
            import_module(f"retrieval.fusion.{self.module}"), f"fit_{self.module}"
        )
        return fit(parts, seed)


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        name: Method(name, description)
        for name, description in {
            "weighted": "the weighted mean of what is there, weights chosen on the items",
            "concat": "side by side, each whitened",
            "graph": "the mean, drawn towards what other modalities say is near",
            "attention": "a mean whose weights are learned from what the parts say",
            "gated": "a sum whose every dimension is gated, as learned",
            "tensor": "a learned low-rank outer product",
        }.items()
    }
)


def fit(method: str, parts: Parts, seed: int = 0) -> Fusion:
    """Fit the fusion called ``method``.

    Args:
        method: its name.
        parts: of items that may be learned from.
        seed: of starts and splits; the same seed gives the same fusion.

    Raises:
        OptionError: no method has that name.
    """
    return METHODS[known("fusion", method, METHODS)].fit(parts, seed)
