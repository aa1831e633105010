"""Decode images from files or bytes, as a person sees them.

Decoding is the same for indexing and for queries. Pillow is imported when the first image is read.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from retrieval.errors import MediaError
from retrieval.formatting import reason
from retrieval.media.formats import IMAGE_FORMATS
from retrieval.media.source import open_source

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

ACCEPTED = "a path, bytes or a PIL.Image.Image"
"""Accepted sources, for error messages."""

MAX_PIXELS = 178_956_970
"""Maximum number of pixels of an image, by its header: the limit where Pillow by default refuses to open it."""


LARGE_PIXELS = 40_000_000
"""From this number of pixels, only one image is decoded at a time: it takes up to 16 bytes per pixel."""

_LARGE_LOCK = threading.Lock()


def load_image(
    source: str | os.PathLike[str] | bytes | Image.Image, *, at_least: int | None = None
) -> Image.Image:
    """Load an image as a person sees it, in RGB.

    The EXIF orientation is applied, transparent pixels are put on white, an animation gives its first frame, and
    pixels of 16 or 32 bits are scaled to 8. Colour profiles are not applied.

    Args:
        source: a path, the bytes of a file, or an opened image, which is not changed.
        at_least: pixels that the shorter side needs. A larger JPEG file may be decoded at 1/2, 1/4 or 1/8 of its
            size, never below this limit, which is several times faster; other sources ignore it.

    Raises:
        MediaError: the source is not a readable image, or has more than ``MAX_PIXELS`` pixels; the header is
            checked before any pixel is decoded.
        MemoryError: there is not enough memory for its pixels.
    """
    from PIL import Image, UnidentifiedImageError

    name = _name(source)
    try:
        if isinstance(source, Image.Image):
            _check_size(source)
            return _upright_rgb(source.copy())
        Image.init()
        formats = [known for known in IMAGE_FORMATS if known in Image.OPEN]
        with (
            open_source(source, kind="picture", accepted=ACCEPTED) as file,
            Image.open(file, formats=formats) as image,
        ):
            _check_size(image)
            if at_least is not None:
                # The same bound for both sides, so that the orientation does not matter.
                image.draft(None, (at_least, at_least))
            if image.width * image.height < LARGE_PIXELS:
                return _upright_rgb(image)
            with _LARGE_LOCK:
                return _upright_rgb(image)
    except MemoryError:
        raise
    except MediaError as error:
        raise MediaError(f"{name}: {error}") from None
    except Image.DecompressionBombError as error:
        # Raised while Pillow reads the header; the first half of the message has the size and the limit.
        what = str(error).partition(",")[0]
        raise MediaError(f"{name}: {what}: scale the picture down") from error
    except UnidentifiedImageError as error:
        raise MediaError(f"{name}: expected a picture, but Pillow cannot read its format") from error
    except Exception as error:
        # On damaged files Pillow's decoders raise whatever their parsing runs into, from struct.error to KeyError.
        raise MediaError(f"{name}: cannot be read as a picture: {reason(error)}") from error


def _name(source: object) -> str:
    """Return the name of a source for error messages."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return "picture in memory"


def _check_size(image: Image.Image) -> None:
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        size = f"{image.width} x {image.height}, {pixels} pixels"
        raise MediaError(f"too large ({size}), the limit is {MAX_PIXELS} pixels: scale the picture down")
    if not pixels:
        raise MediaError(f"has no pixels ({image.width} x {image.height})")


def _upright_rgb(image: Image.Image) -> Image.Image:
    """Return a new upright 8-bit image on white; ``image`` may be changed."""
    from PIL import Image

    image.load()
    _turn_upright(image)
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bits(image)
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    if image.mode == "La":  # Pillow cannot convert it to RGBA directly
        image = image.convert("LA")
    flattened = Image.new("RGBA", image.size, "white")
    flattened.alpha_composite(image.convert("RGBA"))
    return flattened.convert("RGB")


def _turn_upright(image: Image.Image) -> None:
    """Apply the EXIF orientation of a loaded image."""
    from PIL import ImageOps

    # Damaged EXIF is no reason to lose an image with intact pixels: viewers show it without rotation.
    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)


def resize_bicubic(image: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale an RGB image with Pillow's bicubic filter, several times faster than Pillow does.

    Pixels differ from Pillow's by rounding, by 0.2 of 255 on average.

    Args:
        image: an RGB image.
        size: width and height.

    Returns:
        (height, width, 3) uint8.
    """
    from cykooz_resizer import FilterType, ResizeAlg, ResizeOptions, Resizer
    from PIL import Image

    scaled = Image.new("RGB", size)
    # Pillow's bicubic filter is Catmull-Rom.
    options = ResizeOptions(resize_alg=ResizeAlg.convolution(FilterType.catmull_rom), use_alpha=False)
    Resizer().resize_pil(image, scaled, options)
    return np.asarray(scaled)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Convert an image of 16-bit, 32-bit or float grey levels to 8-bit grey.

    Only 16-bit images define their white. For the others, white is the first usual value (1, 255, 65535) that no
    pixel exceeds; if there is none, their darkest and lightest pixels become black and white.
    """
    from PIL import Image

    pixels = np.asarray(image)
    levels = pixels.astype(np.float64)
    if image.mode.startswith("I;16"):
        black, white = 0.0, 65535.0
    else:
        finite = np.isfinite(levels)
        black = float(levels.min(where=finite, initial=np.inf))
        white = float(levels.max(where=finite, initial=-np.inf))
        usual_whites = [level for level in (1.0, 255.0, 65535.0) if black >= 0 and white <= level]
        if usual_whites:
            black, white = 0.0, usual_whites[0]
    np.nan_to_num(levels, copy=False, nan=black)
    levels -= black
    levels *= 255 / ((white - black) or 1.0)
    grey = Image.fromarray(levels.clip(0, 255, out=levels).round(out=levels).astype(np.uint8))
    transparent = image.info.get("transparency")
    if transparent is not None:  # one grey level, in the units of the file
        grey.putalpha(Image.fromarray(np.where(pixels == transparent, 0, 255).astype(np.uint8)))
    return grey
