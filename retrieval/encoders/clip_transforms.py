"""What a CLIP model sees of a picture, prepared as open_clip prepares it.

Apart from the network, and without torchvision, so that worker processes prepare pictures without loading PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.media.images import load_image

DRAFT = 2
"""A JPEG file is decoded at a fraction of its size as long as its shorter side has so many times what is seen."""


@dataclass(frozen=True, slots=True)
class ClipTransform:
    """Pictures to what the model sees of them.

    Attributes:
        sides: height and width that the model sees.
        mode: of ``"shortest"`` (the middle is cut out), ``"longest"`` (padded) and ``"squash"`` the way to them.
        is_bilinear: whether pictures are scaled by the bilinear filter, instead of the bicubic one.
        fill: grey level of what is padded.
    """

    sides: tuple[int, int]
    mode: str
    is_bilinear: bool
    fill: int

    @classmethod
    def of(cls, preprocessing: Mapping[str, Any]) -> ClipTransform:
        """Those that the fields of open_clip's ``PreprocessCfg`` ask for."""
        size, mode = preprocessing["size"], preprocessing["resize_mode"]
        sides = (size, size) if isinstance(size, int) else (size[0], size[1])
        # Where it cuts the middle out of no square, open_clip asks for no filter and gets the bicubic one.
        is_free = mode != "shortest" or sides[0] == sides[1]
        return cls(
            sides, mode, is_free and preprocessing["interpolation"] == "bilinear", preprocessing["fill_color"]
        )

    def __call__(self, medium: Any) -> NDArray[np.uint8]:
        """What the model sees of a picture: a (height, width, 3) uint8 array in RGB.

        Args:
            medium: a path, ``bytes`` or a ``PIL.Image.Image``.

        Raises:
            MediaError: the medium is no readable picture or exceeds a limit.
        """
        from PIL import Image

        seen = load_image(medium, at_least=DRAFT * max(self.sides))
        size = self._scaled(seen.height, seen.width)
        filtered = Image.Resampling.BILINEAR if self.is_bilinear else Image.Resampling.BICUBIC
        scaled = seen.resize(size[::-1], filtered)
        top, left = (_offset(own, wanted) for own, wanted in zip(size, self.sides, strict=True))
        frame = Image.new("RGB", self.sides[::-1], (self.fill,) * 3)
        frame.paste(scaled, (left, top))
        return np.asarray(frame)

    def _scaled(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the whole picture, scaled."""
        if self.mode == "squash":
            return self.sides
        if self.mode == "shortest" and self.sides[0] == self.sides[1]:
            side, shorter = self.sides[0], min(height, width)
            return int(side * height / shorter), int(side * width / shorter)
        ratios = height / self.sides[0], width / self.sides[1]
        ratio = max(ratios) if self.mode == "longest" else min(ratios)
        return max(1, round(height / ratio)), max(1, round(width / ratio))


def _offset(own: int, wanted: int) -> int:
    """Where pixels start in a frame in whose middle they are to be."""
    return (wanted - own) // 2 if own < wanted else -round((own - wanted) / 2)
