"""Every way to fuse, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from retrieval.fusion.base import Fusion, Parts
from retrieval.runtimes.device import training_on
from retrieval.types import Modality
from retrieval.validation import known

Fit = Callable[[Parts, int], Fusion]
"""Fits a fusion to items, given a seed."""


@dataclass(frozen=True)
class Method:
    """One way to fit a fusion.

    Attributes:
        load: imports the method's module; returns the class of what is fitted, and the function that fits it.
        description: one line.
    """

    load: Callable[[], tuple[type[Fusion], Fit]]
    description: str

    def fit(self, parts: Parts, seed: int) -> Fusion:
        """Fit it to items that may be learned from."""
        return self.load()[1](parts, seed)

    def restored(self, arrays: Mapping[str, NDArray[Any]], modalities: Sequence[Modality]) -> Fusion:
        """Return a fitted fusion from its saved arrays."""
        return self.load()[0].restored(arrays, modalities)


def _weighted() -> tuple[type[Fusion], Fit]:
    from retrieval.fusion.weighted import Weighted, fit_weighted

    return Weighted, fit_weighted


def _concat() -> tuple[type[Fusion], Fit]:
    from retrieval.fusion.concat import Concatenated, fit_concat

    return Concatenated, fit_concat


def _graph() -> tuple[type[Fusion], Fit]:
    from retrieval.fusion.graph import Propagated, fit_graph

    return Propagated, fit_graph


def _attention() -> tuple[type[Fusion], Fit]:
    from retrieval.fusion.attention import Attention, fit_attention

    return Attention, fit_attention


def _gated() -> tuple[type[Fusion], Fit]:
    from retrieval.fusion.gated import Gated, fit_gated

    return Gated, fit_gated


def _tensor() -> tuple[type[Fusion], Fit]:
    from retrieval.fusion.tensor import LowRankTensor, fit_tensor

    return LowRankTensor, fit_tensor


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "weighted": Method(_weighted, "the weighted mean of what is there, weights chosen on the items"),
        "concat": Method(_concat, "side by side, each whitened"),
        "graph": Method(_graph, "the mean, drawn towards what other modalities say is near"),
        "attention": Method(_attention, "a mean whose weights are learned from what the parts say"),
        "gated": Method(_gated, "a sum whose every dimension is gated, as learned"),
        "tensor": Method(_tensor, "a learned low-rank outer product"),
    }
)


def check_fusion(method: str) -> str:
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
    own = METHODS[check_fusion(method)]
    with training_on(device):
        return own.fit(parts, seed)
