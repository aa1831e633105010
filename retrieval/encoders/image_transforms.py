"""What a network for photos sees of a picture: its centre, and where that is too little also the whole.

Apart from the network, so that worker processes prepare pictures without loading PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.media.images import load_image, resize_bicubic

SIDE = 224
"""Pixels of the square that the network sees."""

MARGIN = 32
"""Of SIDE + MARGIN pixels on the shorter side, the published crop leaves MARGIN out."""

MIN_VISIBLE_SHARE = 0.5
"""Share of a picture that the crop must show; of one longer than about 3:2 it shows less."""


@dataclass(frozen=True, slots=True)
class ImageTransform:
    """Pictures to views of them."""

    def __call__(self, medium: Any) -> NDArray[np.uint8]:
        """What is seen of a picture: a (1, 224, 224, 3) or (2, 224, 224, 3) uint8 array in RGB.

        First its centre, the published crop. That cuts the better part off a long picture, and off a small
        one, a drawing or an icon, pixels of which none is to spare: both are also seen whole, squeezed into
        the square. Held-out drawings are found better by both views than by either (docs/alignment.md).

        Args:
            medium: a path, ``bytes`` or a ``PIL.Image.Image``.

        Raises:
            MediaError: the medium is no readable picture or exceeds a limit.
        """
        seen = load_image(medium, at_least=SIDE + MARGIN)
        crop = max(1, int(SIDE / (SIDE + MARGIN) * min(seen.size)))
        # The odd pixel goes to the left and the top, as published.
        left, top = (seen.width - crop + 1) // 2, (seen.height - crop + 1) // 2
        # Cut first: resize(box=...) would let pixels outside the crop into its edges.
        views = [seen.crop((left, top, left + crop, top + crop))]
        if min(seen.size) < SIDE + MARGIN or crop**2 < MIN_VISIBLE_SHARE * seen.width * seen.height:
            views.append(seen)
        return np.stack([resize_bicubic(view, (SIDE, SIDE)) for view in views])
