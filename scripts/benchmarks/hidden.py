"""Pictures of which a part matters: every captioned stamp made small, somewhere on a piece of a photo of other things.

Usage: python scripts/benchmarks/hidden.py STAMPS PHOTOS OUT

Then, to see what weighing parts is worth there:

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
"""Pixels of a picture's sides; a stamp has a third of them at most."""


def main(argv: Sequence[str] | None = None) -> None:
    """Write the pictures, and the captions beside them."""
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
            picture = hidden(Image.open(path).convert("RGBA"), photos, random)
            written = options.out / path.relative_to(options.stamps)
            written.parent.mkdir(parents=True, exist_ok=True)
            picture.save(written.with_suffix(".jpg"), quality=92)
            shutil.copy(caption, written.with_suffix(".txt"))
            count += 1
    print(f"{count:,} pictures in {options.out}")


def hidden(stamp: Image.Image, photos: Sequence[Image.Image], random: np.random.Generator) -> Image.Image:
    """A stamp somewhere on a square of one of the photos."""
    stamp.thumbnail((SIDE // 3, SIDE // 3))
    photo = photos[random.integers(len(photos))]
    side = min(photo.size)
    left, top = random.integers(photo.width - side + 1), random.integers(photo.height - side + 1)
    picture = photo.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))
    place = int(random.integers(SIDE - stamp.width + 1)), int(random.integers(SIDE - stamp.height + 1))
    picture.paste(stamp, place, stamp)
    return picture


if __name__ == "__main__":
    main()
