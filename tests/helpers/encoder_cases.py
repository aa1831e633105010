"""Encoders loaded once per test session, and media for each of them."""

from __future__ import annotations

from copy import copy
from functools import cache
from typing import Any

from retrieval.encoders import registry
from retrieval.encoders.base import Encoder
from retrieval.runtimes.openvino_cpu import OpenVINOSession
from retrieval.types import Modality
from tests.helpers.clips import small_clip
from tests.helpers.pictures import noise
from tests.helpers.sounds import melody
from tests.helpers.videos import clips

TEXTS = [
    "a red apple",
    "snow",
    "A small dog, asleep on the warm stones of the harbour wall, beside a heap of nets.",
    "the 3 big cats of São Paulo",
    "two boats",
    "crème brûlée at dusk",
    "word " * 300,
]
"""Different texts of different lengths; the last has several windows."""


FP32 = "openvino fp32"

NAMES = sorted(
    f"{name}-{modality}" if len(entry.modalities) > 1 else name
    for name, entry in registry.ENCODERS.items()
    if not name.startswith("given-")  # precomputed vectors have no media: see tests/indexer/test_adapters.py
    for modality in entry.modalities
)
"""Every encoder; a name that stands for several is followed by the modality."""


def loadable(name: str) -> tuple[str, Modality]:
    """Return name and modality to load for one of ``NAMES``; for a family that needs weights, a small model."""
    family, _, modality = name.rpartition("-")
    if family == "clip":
        return small_clip(), Modality(modality)
    return name, registry.ENCODERS[name].modalities[0]


@cache
def encoder(name: str, runtime: str = "auto") -> Encoder:
    """Return the encoder on the CPU; ``FP32`` forces OpenVINO in fp32, even if another precision is faster."""
    if runtime != FP32:
        return registry.load(*loadable(name), "cpu", runtime)
    made: Any = copy(encoder(name, "openvino"))
    made.__dict__["_session"] = OpenVINOSession(made._network(), "fp32")
    return made  # type: ignore[no-any-return]


def media(modality: Modality) -> list[Any]:
    """Return seven different media of the modality."""
    if modality is Modality.TEXT:
        return list(TEXTS)
    if modality is Modality.AUDIO:
        lengths = [0.3, 1, 2, 0.1, 4, 1.5, 0.7]
        return [(melody(seconds, 8000, seed), 8000) for seed, seconds in enumerate(lengths)]
    if modality is Modality.VIDEO:
        return list(clips())
    sizes = [(300, 200), (40, 90), (256, 256), (1, 1), (640, 480), (225, 224), (1000, 30)]
    return [noise(*size, seed=seed) for seed, size in enumerate(sizes)]
