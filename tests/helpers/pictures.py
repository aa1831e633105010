"""Generated pictures with one colour on the left and another on the right, stored in many ways."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def halves(
    left: Any = RED, right: Any = BLUE, mode: str = "RGB", size: tuple[int, int] = (64, 32)
) -> Image.Image:
    """Return a picture with a left half of one colour and a right half of another."""
    image = Image.new(mode, size, left)
    image.paste(right, (size[0] // 2, 0, *size))
    return image


def saved(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """Return ``image`` as the bytes of a file."""
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def oriented(image: Image.Image, orientation: int) -> bytes:
    """Return a PNG with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(image, exif=exif)


def png_header(width: int, height: int) -> bytes:
    """Return a PNG whose header claims this size, with almost no pixel data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b""))
    )


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return smooth random colours, similar to a photo."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
