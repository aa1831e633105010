"""Encoders loaded once for the whole session, and media for each of them."""

from __future__ import annotations

from functools import cache
from typing import Any

from retrieval.encoders import registry
from retrieval.encoders.base import Encoder
from retrieval.types import Modality
from tests.pictures import noise
from tests.sounds import melody
from tests.videos import clips

TEXTS = [
    "a red apple",
    "snow",
    "A small dog, asleep on the warm stones of the harbour wall, beside a heap of nets.",
    "the 3 big cats of São Paulo",
    "two boats",
    "crème brûlée at dusk",
    "word " * 300,
]
"""Different texts of different lengths, the last one of several windows."""


@cache
def encoder(name: str) -> Encoder:
    """The encoder of that name on the processor."""
    return registry.load(name, registry.ENCODERS[name].modality, "cpu")


def media(modality: Modality) -> list[Any]:
    """Seven different media of that modality."""
    if modality is Modality.TEXT:
        return list(TEXTS)
    if modality is Modality.AUDIO:
        lengths = [0.3, 1, 2, 0.1, 4, 1.5, 0.7]
        return [(melody(seconds, 8000, seed), 8000) for seed, seconds in enumerate(lengths)]
    if modality is Modality.VIDEO:
        return list(clips())
    sizes = [(300, 200), (40, 90), (256, 256), (1, 1), (640, 480), (225, 224), (1000, 30)]
    return [noise(*size, seed=seed) for seed, size in enumerate(sizes)]
