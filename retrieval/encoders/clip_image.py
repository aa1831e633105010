"""Image encoder of a CLIP model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retrieval.arrays.norms import unit
from retrieval.encoders.base import EncoderSpec
from retrieval.encoders.clip_model import ClipModel
from retrieval.encoders.clip_transforms import DRAFT, ClipTransform
from retrieval.encoders.network_encoder import NetworkEncoder
from retrieval.runtimes.base import Network
from retrieval.types import Matrix, Modality

if TYPE_CHECKING:
    import torch

_BATCH = {"cpu": 8, "cuda": 256}


class ClipImage(NetworkEncoder):
    """Encodes images as rows of unit norm, in the space that the model's text shares."""

    def __init__(self, model: ClipModel, device: str, runtime: str = "auto") -> None:
        super().__init__(device, runtime)
        self.prepare = ClipTransform.of(model.preprocessing)
        self.spec = EncoderSpec(
            name=f"clip:{model.name}",
            modality=Modality.IMAGE,
            dimension=model.dimension,
            weights=model.weights,
            preprocessing=f"{model.digest}; JPEG drafts of at least {DRAFT} times; unit norm",
        )
        self._model = model

    def _network(self) -> Network:
        preprocessing, sides = self._model.preprocessing, self.prepare.sides
        return Network(
            name="clip-image",
            key=self.spec.fingerprint,
            build=lambda: _build(self._model.build(), preprocessing["mean"], preprocessing["std"]),
            shapes=((None, *sides, 3),),
            example=(np.zeros((2, *sides, 3), np.uint8),),
        )

    def encode(self, prepared: Sequence[NDArray[np.uint8]]) -> Matrix:
        """Return (n, dimension) float32 rows of unit norm."""
        step = _BATCH[self._device]
        return unit(
            self._rows([(np.stack(prepared[at : at + step]),) for at in range(0, len(prepared), step)])
        )


def _build(model: Any, mean: Sequence[float], std: Sequence[float]) -> torch.nn.Module:
    """Build the module that maps (n, height, width, 3) uint8 to (n, dimension) rows."""
    import torch

    class ImageTower(torch.nn.Module):
        mean: torch.Tensor
        std: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
            self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            scaled = pixels.permute(0, 3, 1, 2).to(self.mean.dtype) / 255
            rows: torch.Tensor = self.model.encode_image((scaled - self.mean) / self.std)
            return rows

    return ImageTower()
