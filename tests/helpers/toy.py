"""Toy encoders with readable vectors: the share of red, green and blue in a picture or a text.

The colour of a sound is its pitch: low tones are red, middle ones green, high ones blue.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from retrieval.encoders import registry
from retrieval.encoders.base import WHOLE, ClassHead, EncoderSpec, Span
from retrieval.errors import MediaError
from retrieval.media import audio, images
from retrieval.types import Matrix, Modality

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "purple": (255, 0, 255),
    "turquoise": (0, 255, 255),
    "orange": (255, 128, 0),
    "pink": (255, 128, 192),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
}


@dataclass(frozen=True)
class MeanColour:
    """Computes the share of red, green and blue in a medium, from 0 to 1."""

    modality: Modality

    def __call__(self, medium: Any) -> Matrix:
        if self.modality is Modality.TEXT:
            words = [word for word in medium.lower().replace(".", " ").split() if word in COLOURS]
            if not medium.strip():
                raise MediaError("expected words, the text is empty")
            colours = [COLOURS[word] for word in words] or [(128, 128, 128)]
            return np.mean(colours, axis=0).astype(np.float32) / 255
        if self.modality is Modality.AUDIO:
            clip = audio.load_audio(medium)
            loud = np.abs(np.fft.rfft(clip.samples))
            bands = np.digitize(np.fft.rfftfreq(len(clip.samples), 1 / clip.rate), [500, 1500])
            energy = np.bincount(bands, loud, 3)
            return (energy / energy.max()).astype(np.float32)
        return np.asarray(images.load_image(medium), np.float32).mean(axis=(0, 1)) / 255


class ToyEncoder:
    """Counts what it encodes, so that tests can check what was encoded again."""

    numerics = "numpy fp32"

    def __init__(self, modality: Modality, weights: str = "toy") -> None:
        self.spec = EncoderSpec(f"toy-{modality}", modality, 3, weights, "mean colour")
        self.prepare = MeanColour(modality)
        self.encoded = 0

    def encode(self, prepared: Sequence[Matrix]) -> Matrix:
        self.encoded += len(prepared)
        return np.stack(prepared) if len(prepared) else np.empty((0, 3), np.float32)

    def spans(self, _prepared: Matrix) -> Sequence[Span]:
        return WHOLE

    def class_head(self) -> ClassHead | None:
        if self.spec.modality is not Modality.IMAGE:
            return None
        weights = np.array(list(COLOURS.values()), np.float32) / 255
        return ClassHead(list(COLOURS), 20 * weights, -10 * (weights**2).sum(axis=1))


@contextmanager
def encoders(weights: str = "toy") -> Iterator[dict[Modality, ToyEncoder]]:
    """Register ``toy-text``, ``toy-image`` and ``toy-audio``, and the preset ``toy`` of the first two."""
    made = {
        modality: ToyEncoder(modality, weights)
        for modality in (Modality.TEXT, Modality.IMAGE, Modality.AUDIO)
    }
    known, presets = registry.ENCODERS, registry.PRESETS
    registry.ENCODERS = {  # type: ignore[misc]
        **known,
        **{
            encoder.spec.name: registry.EncoderEntry(
                (modality,), lambda _request, encoder=encoder: encoder, ""
            )
            for modality, encoder in made.items()
        },
    }
    registry.PRESETS = {  # type: ignore[misc]
        **presets,
        "toy": {modality: made[modality].spec.name for modality in (Modality.TEXT, Modality.IMAGE)},
    }
    registry._IMAGE_ENCODERS.clear()  # it may hold earlier encoders of the same name
    try:
        yield made
    finally:
        registry._IMAGE_ENCODERS.clear()
        registry.ENCODERS, registry.PRESETS = known, presets  # type: ignore[misc]


def paint(path: Path, colour: str | tuple[int, ...], size: tuple[int, int] = (8, 8)) -> Path:
    """Write a picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, COLOURS.get(colour, colour) if isinstance(colour, str) else colour).save(path)
    return path


def folder(root: Path, *, captions: bool = True) -> Path:
    """Write a folder with a picture of each colour, with captions unless ``captions`` is False."""
    for name in COLOURS:
        paint(root / f"{name}.png", name)
        if captions:
            (root / f"{name}.txt").write_text(f"Something {name}.\n", encoding="utf-8")
    return root


def table(root: Path, *more: str) -> Path:
    """Write a manifest: a captioned picture of each colour, its number of letters, a second caption, and ``more``."""
    folder(root, captions=False)
    rows = [f"{name},{name}.png,Something {name}.,{len(name)}" for name in COLOURS]
    text = "\n".join(["id,image,caption,letters", *rows, "red,,A warm red.,", *more]) + "\n"
    (root / "m.csv").write_text(text, encoding="utf-8")
    return root / "m.csv"
