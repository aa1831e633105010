"""Make images of which only a part matters: each captioned stamp, made small, on a crop of an unrelated photo.

Usage: python scripts/benchmarks/hidden.py STAMPS PHOTOS OUT

Then, to measure what weighting parts gains on these images:

    xmodal index OUT --out INDEX --preset parts --audio-encoder none
    python scripts/benchmarks/stamps.py INDEX --align cca attention
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 336
"""Pixels of an image's sides; a stamp takes at most a third of them."""


def main(argv: Sequence[str] | None = None) -> None:
    """Write the images, and their captions beside them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("stamps", type=Path, help="PNGs with a caption beside each, such as demo/stamps")
    parser.add_argument("photos", type=Path, help="a folder of JPEGs, such as shared/data/photos")
    parser.add_argument("out", type=Path)
    options = parser.parse_args(argv)
    random = np.random.default_rng(0)
    photos = [Image.open(path).convert("RGB") for path in sorted(options.photos.rglob("*.jpg"))]
    count = 0
    for path in sorted(options.stamps.rglob("*.png")):
        caption = path.with_suffix(".txt")
        if caption.exists():
            image = place_stamp(Image.open(path).convert("RGBA"), photos, random)
            target = options.out / path.relative_to(options.stamps)
            target.parent.mkdir(parents=True, exist_ok=True)
            image.save(target.with_suffix(".jpg"), quality=92)
            shutil.copy(caption, target.with_suffix(".txt"))
            count += 1
    print(f"{count:,} images in {options.out}")


def place_stamp(
    stamp: Image.Image, photos: Sequence[Image.Image], random: np.random.Generator
) -> Image.Image:
    """Return a random square crop of one of the photos, with the stamp at a random place."""
    stamp.thumbnail((SIDE // 3, SIDE // 3))
    photo = photos[random.integers(len(photos))]
    side = min(photo.size)
    left, top = random.integers(photo.width - side + 1), random.integers(photo.height - side + 1)
    image = photo.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))
    place = int(random.integers(SIDE - stamp.width + 1)), int(random.integers(SIDE - stamp.height + 1))
    image.paste(stamp, place, stamp)
    return image


if __name__ == "__main__":
    main()
