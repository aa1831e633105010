"""Description of a network, and the interface of a session that runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from retrieval.types import Matrix

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

Batch: TypeAlias = "tuple[NDArray[Any], ...]"
"""The input arrays of a network; the first axis counts the same rows in each."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network, described without loading it.

    Attributes:
        name: name for messages and file names.
        key: hex digits that differ if weights or graph differ; an export is cached under this key.
        build: loads the weights. The module takes a batch's tensors and returns (n, d) rows; steps before its
            first layer, such as the normalisation of pixels, are part of it.
        shapes: shape of each array of a batch; None for an axis of any length.
        example: a small batch of these shapes.
    """

    name: str
    key: str
    build: Callable[[], torch.nn.Module]
    shapes: tuple[tuple[int | None, ...], ...]
    example: Batch


class Session(Protocol):
    """A network ready to run. Used by one thread at a time."""

    @property
    def numerics(self) -> str:
        """The runtime and the precision it computes in, such as ``"openvino bf16"``."""
        ...

    def run(self, batches: Sequence[Batch]) -> list[Matrix]:
        """Return (n, d) float32 rows of each batch, in order; several batches may run at the same time."""
        ...
