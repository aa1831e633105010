"""Prepare images for a CLIP model as open_clip prepares them.

Separate from the network, and without torchvision, so that worker processes prepare images without loading PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.media.images import load_image

DRAFT = 2
"""A JPEG file may be decoded at reduced size while its shorter side has at least this many times the input size."""


@dataclass(frozen=True, slots=True)
class ClipTransform:
    """Turns images into the pixels that enter the model.

    Attributes:
        sides: height and width of the model's input.
        mode: how images get this size: ``"shortest"`` (centre crop), ``"longest"`` (padded) or ``"squash"``.
        is_bilinear: whether images are scaled by the bilinear filter instead of the bicubic one.
        fill: grey level of the padding.
    """

    sides: tuple[int, int]
    mode: str
    is_bilinear: bool
    fill: int

    @classmethod
    def of(cls, preprocessing: Mapping[str, Any]) -> ClipTransform:
        """Return the transform that the fields of open_clip's ``PreprocessCfg`` describe."""
        size, mode = preprocessing["size"], preprocessing["resize_mode"]
        sides = (size, size) if isinstance(size, int) else (size[0], size[1])
        # For a centre crop that is not square, open_clip passes no filter and gets the bicubic one.
        is_free = mode != "shortest" or sides[0] == sides[1]
        return cls(
            sides, mode, is_free and preprocessing["interpolation"] == "bilinear", preprocessing["fill_color"]
        )

    def __call__(self, medium: Any) -> NDArray[np.uint8]:
        """Return the pixels of an image for the model: a (height, width, 3) uint8 array in RGB.

        Args:
            medium: a path, ``bytes`` or a ``PIL.Image.Image``.

        Raises:
            MediaError: the medium is not a readable image or exceeds a limit.
        """
        from PIL import Image

        image = load_image(medium, at_least=DRAFT * max(self.sides))
        size = self._scaled(image.height, image.width)
        filtered = Image.Resampling.BILINEAR if self.is_bilinear else Image.Resampling.BICUBIC
        scaled = image.resize(size[::-1], filtered)
        top, left = (_offset(side, target) for side, target in zip(size, self.sides, strict=True))
        frame = Image.new("RGB", self.sides[::-1], (self.fill,) * 3)
        frame.paste(scaled, (left, top))
        return np.asarray(frame)

    def _scaled(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the whole image after scaling."""
        if self.mode == "squash":
            return self.sides
        if self.mode == "shortest" and self.sides[0] == self.sides[1]:
            side, shorter = self.sides[0], min(height, width)
            return int(side * height / shorter), int(side * width / shorter)
        ratios = height / self.sides[0], width / self.sides[1]
        ratio = max(ratios) if self.mode == "longest" else min(ratios)
        return max(1, round(height / ratio)), max(1, round(width / ratio))


def _offset(side: int, target: int) -> int:
    """Return where pixels start in a frame so that they are centred in it."""
    return (target - side) // 2 if side < target else -round((side - target) / 2)
