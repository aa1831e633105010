"""Run networks with PyTorch: unchanged on the CPU; in bf16 and compiled on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from retrieval.runtimes.base import Batch, Network
from retrieval.types import Matrix

if TYPE_CHECKING:
    import torch

COMPILE_AFTER_BATCHES = 64
"""Number of batches of one shape after which compiling, which takes a minute, pays off."""


class TorchSession:
    """A network run by PyTorch; its weights are loaded when first needed."""

    def __init__(
        self, network: Network, device: str, *, precision: str | None = None, backend: str = "inductor"
    ) -> None:
        """Prepare to run a network; nothing is loaded yet.

        Args:
            network: what to run.
            device: ``"cpu"`` or ``"cuda"``.
            precision: ``"bf16"`` or ``"fp32"``; None for the device's default: fp32 on a CPU, bf16 on a GPU.
            backend: compiler backend of ``torch.compile``.
        """
        self._network = network
        self._device = device
        self._precision = precision or ("fp32" if device == "cpu" else "bf16")
        self._backend = backend
        self._seen: dict[tuple[tuple[int, ...], ...], int] = {}

    @property
    def numerics(self) -> str:
        """See ``Session``."""
        return f"torch {self._precision}"

    def run(self, batches: Sequence[Batch]) -> list[Matrix]:
        """See ``Session``."""
        import torch

        with torch.inference_mode():
            # A GPU computes while the next batch is sent, so no result is awaited before all batches have started.
            rows = [self._forward(batch) for batch in batches]
            return [each.float().cpu().numpy() for each in rows]

    def _forward(self, batch: Batch) -> torch.Tensor:
        import torch

        tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in batch]
        if self._device == "cpu":
            result: torch.Tensor = self._module(*tensors)
            return result
        tensors = [tensor.pin_memory().to(self._device, non_blocking=True) for tensor in tensors]
        return self.module_for(batch)(*tensors)

    def module_for(self, batch: Batch) -> Callable[..., torch.Tensor]:
        """Return the module that is fastest for one more batch of this shape: compiled after many such batches."""
        shape = tuple(array.shape for array in batch)
        self._seen[shape] = self._seen.get(shape, 0) + 1
        return self._compiled if self._seen[shape] > COMPILE_AFTER_BATCHES else self._module

    @cached_property
    def _module(self) -> torch.nn.Module:
        import torch

        kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[self._precision]
        module = self._network.build().eval().to(self._device, kind)
        return module.to(memory_format=torch.channels_last)  # of its convolutions' weights

    @cached_property
    def _compiled(self) -> Callable[..., torch.Tensor]:
        import torch

        compiled: Callable[..., torch.Tensor] = torch.compile(self._module, backend=self._backend)
        return compiled
