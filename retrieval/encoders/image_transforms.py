"""Prepare images for a network trained on photos: the centre crop and, if it shows too little, the whole image.

Separate from the network, so that worker processes prepare images without loading PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.media.images import load_image, resize_bicubic

SIDE = 224
"""Side of the network's square input, in pixels."""

MARGIN = 32
"""The published crop leaves out MARGIN of SIDE + MARGIN pixels on the shorter side."""

MIN_VISIBLE_SHARE = 0.5
"""Share of an image that the crop must show; it shows less if the image is longer than about 3:2."""


@dataclass(frozen=True, slots=True)
class ImageTransform:
    """Turns an image into one or two views."""

    def __call__(self, medium: Any) -> NDArray[np.uint8]:
        """Return the views of an image: a (1, 224, 224, 3) or (2, 224, 224, 3) uint8 array in RGB.

        The first view is the published centre crop. The crop cuts away most of a long image. A small image, such
        as a drawing or an icon, has no pixels to spare. Both kinds get a second view: the whole image squeezed into
        the square. Held-out drawings are found better with both views than with either (docs/alignment.md).

        Args:
            medium: a path, ``bytes`` or a ``PIL.Image.Image``.

        Raises:
            MediaError: the medium is not a readable image or exceeds a limit.
        """
        image = load_image(medium, at_least=SIDE + MARGIN)
        crop = max(1, int(SIDE / (SIDE + MARGIN) * min(image.size)))
        # An odd pixel is cut at the left and the top, as published.
        left, top = (image.width - crop + 1) // 2, (image.height - crop + 1) // 2
        # Crop first: resize(box=...) would mix pixels from outside the crop into its edges.
        views = [image.crop((left, top, left + crop, top + crop))]
        if min(image.size) < SIDE + MARGIN or crop**2 < MIN_VISIBLE_SHARE * image.width * image.height:
            views.append(image)
        return np.stack([resize_bicubic(view, (SIDE, SIDE)) for view in views])
