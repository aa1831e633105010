"""Images are read as a person sees them; unreadable files are refused in one clear line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from retrieval.errors import MediaError
from retrieval.media.formats import ENDINGS, modality_of
from retrieval.media.images import MAX_PIXELS, load_image
from retrieval.types import Modality
from tests.helpers.pictures import BLUE, RED, WHITE, halves, noise, oriented, png_header, saved


def sides(loaded: Image.Image) -> tuple[Any, Any]:
    """Return the colours in the middle of the left and of the right half."""
    assert loaded.mode == "RGB"
    left, middle = loaded.width // 4, loaded.height // 2
    return loaded.getpixel((left, middle)), loaded.getpixel((3 * left, middle))


def close(colour: Any, expected: Any, tolerance: int = 12) -> bool:
    return bool(np.abs(np.subtract(colour, expected)).max() <= tolerance)


def palette(transparent: int | bytes) -> bytes:
    image = halves(0, 1, "P")
    image.putpalette([*RED, *BLUE])
    return saved(image, transparency=transparent)


def grey16(left: int, right: int) -> Image.Image:
    pixels = np.full((32, 64), left, np.uint16)
    pixels[:, 32:] = right
    return Image.fromarray(pixels)


TRANSPARENT_RIGHT = {
    "RGBA": (saved(halves((*RED, 255), (0, 0, 0, 0), "RGBA")), RED),
    "LA": (saved(halves((100, 255), (0, 0), "LA")), (100,) * 3),
    "palette with one transparent colour": (palette(1), RED),
    "palette with alpha": (palette(b"\xff\x00"), RED),
    "tRNS in RGB": (saved(halves(), transparency=BLUE), RED),
    "tRNS in grey": (saved(halves(100, 7, "L"), transparency=7), (100,) * 3),
    "tRNS in bilevel": (saved(halves(0, 1, "1"), transparency=1), (0,) * 3),
    "tRNS in 16-bit grey": (saved(grey16(25700, 7), transparency=7), (100,) * 3),
    "GIF": (saved(halves(0, 1, "P"), "GIF", transparency=1), (0,) * 3),
    "WebP": (saved(halves((*RED, 255), (0, 0, 0, 0), "RGBA"), "WEBP", lossless=True), RED),
}


@pytest.mark.parametrize("name", TRANSPARENT_RIGHT)
def test_transparent_pixels_are_put_on_white(name: str) -> None:
    data, left = TRANSPARENT_RIGHT[name]
    assert sides(load_image(data)) == (left, WHITE)


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    assert close(sides(load_image(halves((*RED, 128), (*BLUE, 0), "RGBA")))[0], (255, 127, 127), 1)


@pytest.mark.parametrize("mode", ["PA", "LA", "La", "RGBa"])
def test_alpha_of_pictures_in_memory(mode: str) -> None:
    image = halves((100, 100, 100, 255), (0, 0, 0, 0), "RGBA")
    steps = {"PA": ("P", "PA"), "LA": ("LA",), "La": ("LA", "La"), "RGBa": ("RGBa",)}[mode]
    for step in steps:
        image = image.convert(step)
    if mode == "PA":
        image.putalpha(halves(255, 0, "L"))
    left, right = sides(load_image(image))
    assert close(left, (100,) * 3, 3)
    assert right == WHITE


@pytest.mark.parametrize("orientation", range(1, 9))
@given(width=st.integers(1, 9), height=st.integers(1, 9))
@settings(max_examples=10)
def test_orientation_is_undone(orientation: int, width: int, height: int) -> None:
    upright = Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8))
    # The pixels a camera in this orientation would store: the inverse of each turn.
    stored = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    data = oriented(upright if stored is None else upright.transpose(stored), orientation)
    assert np.array_equal(np.asarray(load_image(data)), np.asarray(upright))


def test_tiff_is_turned_once() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert load_image(saved(halves(), "TIFF", exif=exif)).size == (32, 64)


@pytest.mark.filterwarnings("default:Corrupt EXIF data")
def test_damaged_exif_does_not_lose_the_picture() -> None:
    data = saved(halves(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01")
    assert load_image(data).size == (64, 32)


def test_cmyk() -> None:
    image = halves((0, 255, 255, 0), (255, 255, 0, 0), "CMYK")
    left, right = sides(load_image(saved(image, "JPEG", quality=95)))
    assert close(left, RED)
    assert close(right, BLUE)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_not_clipped(form: str) -> None:
    left, right = sides(load_image(saved(grey16(257 * 60, 257 * 180), form)))
    assert (left, right) == ((60,) * 3, (180,) * 3)


@pytest.mark.parametrize(
    ("dark", "light", "expected"),
    [
        (0.25, 0.75, (64, 191)),
        (50.0, 100.0, (50, 100)),
        (257.0 * 60, 257.0 * 180, (60, 180)),
        (-1e6, 1e6, (0, 255)),
        (1e9, 1e9, (0, 0)),
        (float("nan"), 0.5, (0, 128)),
        (float("nan"), float("nan"), (0, 0)),
        (-3e38, 3e38, (0, 255)),
    ],
)
def test_float_levels(dark: float, light: float, expected: tuple[int, int]) -> None:
    left, right = sides(load_image(saved(halves(dark, light, "F"), "TIFF")))
    assert (left[0], right[0]) == expected


def test_integer_levels() -> None:
    left, right = sides(load_image(saved(halves(0, 2**30, "I"), "TIFF")))
    assert (left[0], right[0]) == (0, 255)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_gives_its_first_frame(form: str) -> None:
    frames = {"save_all": True, "append_images": [halves(BLUE, RED)]}
    options = {**frames, "lossless": True} if form == "WEBP" else frames
    assert sides(load_image(saved(halves(), form, **options))) == (RED, BLUE)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I", "F", "YCbCr", "HSV", "I;16"])
def test_one_pixel(mode: str) -> None:
    loaded = load_image(Image.new(mode, (1, 1)))
    assert (loaded.mode, loaded.size) == ("RGB", (1, 1))


def test_a_path_bytes_and_an_opened_image_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    noise(30, 20).save(path)
    with Image.open(path) as opened:
        loaded = [load_image(path), load_image(str(path)), load_image(path.read_bytes()), load_image(opened)]
    assert len({one.tobytes() for one in loaded}) == 1


def test_an_image_in_memory_is_not_changed() -> None:
    original = halves((*RED, 128), (*BLUE, 0), "RGBA")
    before = original.tobytes()
    load_image(original).paste((0, 0, 0), (0, 0, 9, 9))
    plain = halves()
    load_image(plain).paste((0, 0, 0), (0, 0, 64, 32))
    assert original.tobytes() == before
    assert sides(plain) == (RED, BLUE)


@given(
    width=st.integers(1, 700), height=st.integers(1, 700), at_least=st.integers(1, 300), turned=st.booleans()
)
@settings(max_examples=40)
def test_a_jpeg_draft_is_never_too_small(width: int, height: int, at_least: int, turned: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    loaded = load_image(saved(noise(width, height), "JPEG", exif=exif), at_least=at_least)
    assert min(loaded.size) >= min(at_least, width, height)
    upright = (height, width) if turned else (width, height)
    assert loaded.size in {tuple(-(-side // scale) for side in upright) for scale in (1, 2, 4, 8)}


def test_a_draft_is_a_smaller_decode_of_the_same_picture() -> None:
    data = saved(noise(1024, 768), "JPEG", quality=95)
    draft, whole = load_image(data, at_least=256), load_image(data)
    assert (draft.size, whole.size) == ((512, 384), (1024, 768))
    difference = np.subtract(whole.resize(draft.size, Image.Resampling.BOX), draft, dtype=np.int16)
    assert np.abs(difference).mean() < 1.5


def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    with pytest.raises(MediaError, match=r"400000000 pixels.*178956970") as refused:
        load_image(png_header(20_000, 20_000))
    assert "\n" not in str(refused.value)


def test_the_limit_holds_if_pillows_own_limit_is_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(MediaError, match=rf"20000 x 20000, 400000000 pixels.*{MAX_PIXELS}"):
        load_image(png_header(20_000, 20_000))


BROKEN = {
    "truncated JPEG": saved(noise(200, 200), "JPEG")[:-500],
    "truncated PNG": saved(noise(200, 200))[:-500],
    "truncated GIF": saved(noise(200, 200), "GIF")[:-500],
    "truncated WebP": saved(noise(200, 200), "WEBP")[:-500],
    "truncated TIFF": saved(noise(200, 200), "TIFF")[:-500],
    "truncated BMP": saved(noise(200, 200), "BMP")[:-500],
    "header alone": saved(noise(200, 200))[:40],
    "empty": b"",
    "text": b"not a picture at all",
    "zip": b"PK\x03\x04" + bytes(100),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("at_least", [None, 64])
def test_damaged_images_are_refused(name: str, at_least: int | None, tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(BROKEN[name])
    for source in (path, BROKEN[name]):
        with pytest.raises(MediaError) as refused:
            load_image(source, at_least=at_least)
        message = str(refused.value)
        assert message.startswith(str(path) if source is path else "picture in memory")
        assert "\n" not in message
        assert "Traceback" not in message
        assert " at 0x" not in message


@given(
    data=st.binary(max_size=300),
    form=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF"]),
    at=st.integers(4, 200),
)
@settings(max_examples=150)
def test_corrupted_bytes_are_read_or_refused(data: bytes, form: str, at: int) -> None:
    whole = saved(noise(16, 16), form)
    try:
        loaded = load_image(whole[:at] + data + whole[at + len(data) :])
    except MediaError:
        return
    assert loaded.mode == "RGB"


def test_invalid_sources_are_refused(tmp_path: Path) -> None:
    for source, reason in [
        (tmp_path / "missing.png", "No such file"),
        (tmp_path, "is a folder"),
        ("a\0b.png", "null"),
    ]:
        with pytest.raises(MediaError, match=reason):
            load_image(source)
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    with pytest.raises(MediaError, match="is not a regular file"):
        load_image(pipe)
    wrong: Any = 3
    with pytest.raises(MediaError, match="not int"):
        load_image(wrong)


def test_pillow_opens_every_image_extension() -> None:
    Image.init()
    forms = Image.registered_extensions()
    opened = {ending for ending, form in forms.items() if form in {*Image.OPEN, "MPO"}}
    assert ENDINGS[Modality.IMAGE] <= opened


def test_every_image_extension_that_pillow_writes_is_read(tmp_path: Path) -> None:
    Image.init()
    forms = Image.registered_extensions()
    read = 0
    for ending in ENDINGS[Modality.IMAGE]:
        if forms[ending] not in Image.SAVE:
            continue
        path = tmp_path / f"picture{ending}"
        mode = {".xbm": "1", ".pbm": "1", ".pgm": "L", ".pfm": "F"}.get(ending, "RGB")
        noise(32, 32).convert("L").convert(mode).save(path)
        # Pillow writes icons in several sizes, and reads the largest.
        assert load_image(path).size == ((1024, 1024) if ending == ".icns" else (32, 32)), ending
        read += 1
    assert read > 20


def test_audio_extensions_that_libsndfile_writes_are_read(tmp_path: Path) -> None:
    import soundfile

    tone = np.sin(np.arange(8000) / 20).astype(np.float32)
    forms = {"oga": "OGG", "aif": "AIFF", "aifc": "AIFF", "snd": "AU"}
    forms |= {form.lower(): form for form in "WAV FLAC OGG MP3 AIFF AU CAF W64 RF64 VOC".split()}  # noqa: SIM905
    for ending, form in forms.items():
        path = tmp_path / f"tone.{ending}"
        soundfile.write(path, tone, 8000, format=form)
        assert modality_of(path) is Modality.AUDIO
        assert soundfile.read(path)[1] == 8000  # librosa reads with soundfile


def test_extensions_are_lower_case_and_belong_to_one_modality() -> None:
    endings = [ending for group in ENDINGS.values() for ending in group]
    assert set(ENDINGS) == set(Modality)
    assert len(set(endings)) == len(endings)
    assert all(ending == ending.lower() and ending.startswith(".") for ending in endings)


@pytest.mark.parametrize(
    ("path", "modality"),
    [
        ("a/b.JPG", Modality.IMAGE),
        (Path("a.b.txt"), Modality.TEXT),
        ("a.ogg", Modality.AUDIO),
        ("a.MP4", Modality.VIDEO),
        ("a.svg", None),
        ("a", None),
        (".txt", None),
        ("a.jpg/b", None),
    ],
)
def test_modality_of(path: str | Path, modality: Modality | None) -> None:
    assert modality_of(path) is modality


def test_importing_media_imports_no_decoder() -> None:
    program = (
        "import sys, retrieval.media.images, retrieval.runtimes.device, retrieval.encoders.registry as r; r.PRESETS; "
        "sys.exit(bool({'PIL', 'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
