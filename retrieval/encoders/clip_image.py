"""Pictures into a CLIP model's space."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retrieval.alignment.projector import unit
from retrieval.encoders.base import EncoderSpec
from retrieval.encoders.clip_model import ClipModel
from retrieval.encoders.networked import Networked
from retrieval.media import picture
from retrieval.runtimes.base import Network
from retrieval.types import Matrix, Modality

if TYPE_CHECKING:
    import torch

DRAFT = 2
"""A JPEG file is decoded at a fraction of its size as long as its shorter side has so many times what is seen."""

_BATCH = {"cpu": 8, "cuda": 256}


class ClipImage(Networked):
    """Pictures to unit rows of the space that the model's words are in."""

    def __init__(self, model: ClipModel, device: str, runtime: str = "auto") -> None:
        super().__init__(device, runtime)
        size = model.looks["size"]
        self._sides: tuple[int, int] = (size, size) if isinstance(size, int) else (size[0], size[1])
        self.spec = EncoderSpec(
            name=f"clip:{model.name}",
            modality=Modality.IMAGE,
            dimension=model.dimension,
            weights=model.weights,
            preprocessing=f"{model.digest}; JPEG drafts of at least {DRAFT} times; unit norm",
        )
        self._model = model

    def _network(self) -> Network:
        looks = self._model.looks
        return Network(
            name="clip-image",
            key=self.spec.fingerprint,
            build=lambda: _build(self._model.build(), looks["mean"], looks["std"]),
            shapes=((None, *self._sides, 3),),
            example=(np.zeros((2, *self._sides, 3), np.uint8),),
        )

    @cached_property
    def _seen(self) -> Any:
        """What open_clip does to a picture before it is numbers: resizing and cropping by its own means."""
        from open_clip.transform import PreprocessCfg, image_transform_v2
        from torchvision.transforms import CenterCrop, Compose, Resize

        steps = image_transform_v2(PreprocessCfg(**self._model.looks), is_train=False).transforms
        geometric = [step for step in steps if isinstance(step, Resize | CenterCrop) or _is_own(step)]
        return Compose(geometric)

    def prepare(self, medium: Any) -> NDArray[np.uint8]:
        """What the model sees of a picture: a (height, width, 3) uint8 array in RGB.

        Args:
            medium: a path, ``bytes`` or a ``PIL.Image.Image``.

        Raises:
            MediaError: the medium is no readable picture or exceeds a limit.
        """
        return np.asarray(self._seen(picture(medium, at_least=DRAFT * max(self._sides))))

    def encode(self, prepared: Sequence[NDArray[np.uint8]]) -> Matrix:
        """(n, dimension) float32 rows of unit norm."""
        step = _BATCH[self._device]
        return unit(
            self._rows([(np.stack(prepared[at : at + step]),) for at in range(0, len(prepared), step)])
        )


def _is_own(step: object) -> bool:
    from open_clip.transform import CenterCropOrPad, ResizeKeepRatio

    return isinstance(step, CenterCropOrPad | ResizeKeepRatio)


def _build(model: Any, mean: Sequence[float], std: Sequence[float]) -> torch.nn.Module:
    """(n, height, width, 3) uint8 to (n, dimension) rows."""
    import torch

    class Pictures(torch.nn.Module):
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

    return Pictures()
