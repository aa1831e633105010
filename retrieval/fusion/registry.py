"""Every way to fuse, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import Any

from numpy.typing import NDArray

from retrieval.device import training_on
from retrieval.fusion.base import Fusion, Parts
from retrieval.naming import known
from retrieval.types import Modality


@dataclass(frozen=True)
class Method:
    """One way to fit a fusion.

    Attributes:
        name: also of the module of this package that has it, loaded when it is used.
        kind: the class of what is fitted.
        description: one line.
    """

    name: str
    kind: str
    description: str

    def fit(self, parts: Parts, seed: int) -> Fusion:
        """Fit it to items that may be learned from."""
        fit: Callable[[Parts, int], Fusion] = getattr(self._module, f"fit_{self.name}")
        return fit(parts, seed)

    def restored(self, arrays: Mapping[str, NDArray[Any]], modalities: Sequence[Modality]) -> Fusion:
        """What was fitted, from its arrays."""
        kind: type[Fusion] = getattr(self._module, self.kind)
        return kind.restored(arrays, modalities)

    @property
    def _module(self) -> ModuleType:
        return import_module(f"retrieval.fusion.{self.name}")


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method("weighted", "Weighted", "the weighted mean of what is there, weights chosen on the items"),
            Method("concat", "Concatenated", "side by side, each whitened"),
            Method("graph", "Propagated", "the mean, drawn towards what other modalities say is near"),
            Method("attention", "Attention", "a mean whose weights are learned from what the parts say"),
            Method("gated", "Gated", "a sum whose every dimension is gated, as learned"),
            Method("tensor", "LowRankTensor", "a learned low-rank outer product"),
        )
    }
)


def check(method: str) -> str:
    """The method itself.

    Raises:
        OptionError: no method has that name.
    """
    return known("fusion", method, METHODS)


def fit(method: str, parts: Parts, seed: int = 0, device: str = "cpu") -> Fusion:
    """Fit the fusion called ``method``.

    Args:
        method: its name.
        parts: of items that may be learned from.
        seed: of starts and splits; the same seed gives the same fusion.
        device: where what is trained by gradients is: ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises:
        OptionError: no method has that name.
    """
    own = METHODS[check(method)]
    with training_on(device):
        return own.fit(parts, seed)
