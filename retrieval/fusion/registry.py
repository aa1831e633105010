"""Fusion methods by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from retrieval.fusion.base import Fusion, Parts
from retrieval.option_checks import known
from retrieval.runtimes.device import training_on
from retrieval.types import Modality

Fit = Callable[[Parts, int], Fusion]
"""Function that fits a fusion to the parts of items, with a seed."""


@dataclass(frozen=True)
class Method:
    """A fusion method.

    Attributes:
        load: imports the method's module; returns the class of the fitted fusion and the function that fits it.
        description: one line.
    """

    load: Callable[[], tuple[type[Fusion], Fit]]
    description: str

    def fit(self, parts: Parts, seed: int) -> Fusion:
        """Fit the fusion to items that may be used for learning."""
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
        "weighted": Method(
            _weighted, "the weighted mean of the parts present, with weights chosen on the items"
        ),
        "concat": Method(_concat, "the whitened parts, concatenated"),
        "graph": Method(_graph, "the mean, moved towards items that are similar in other modalities"),
        "attention": Method(_attention, "a mean with learned weights that depend on the parts"),
        "gated": Method(_gated, "a sum with a learned gate for every dimension"),
        "tensor": Method(_tensor, "a learned low-rank outer product"),
    }
)


def check_fusion(method: str) -> str:
    """Return ``method`` if it is a known name.

    Raises:
        OptionError: no method has that name.
    """
    return known("fusion", method, METHODS)


def fit(method: str, parts: Parts, seed: int = 0, device: str = "cpu") -> Fusion:
    """Fit the fusion method ``method``.

    Args:
        method: name of the method.
        parts: parts of items that may be used for learning.
        seed: seed for starting values and splits; the same seed gives the same fusion.
        device: device for gradient training: ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises:
        OptionError: no method has that name.
    """
    fusion_method = METHODS[check_fusion(method)]
    with training_on(device):
        return fusion_method.fit(parts, seed)
