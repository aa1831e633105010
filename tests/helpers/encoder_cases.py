"""Encoders loaded once for the whole session, and media for each of them."""

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
"""Different texts of different lengths, the last one of several windows."""


FP32 = "openvino fp32"

NAMES = sorted(
    f"{name}-{modality}" if len(entry.modalities) > 1 else name
    for name, entry in registry.ENCODERS.items()
    if not name.startswith("given-")  # what is given needs no media: tests/indexer/test_adapters.py
    for modality in entry.modalities
)
"""Every encoder; where one name stands for several, with what it reads behind it."""


def loadable(name: str) -> tuple[str, Modality]:
    """What to load for one of ``NAMES``: of a family with weights of one's own, a small model of that kind."""
    family, _, modality = name.rpartition("-")
    if family == "clip":
        return small_clip(), Modality(modality)
    return name, registry.ENCODERS[name].modalities[0]


@cache
def encoder(name: str, runtime: str = "auto") -> Encoder:
    """The encoder of that name on the processor; by ``FP32`` in that, whatever the processor is fastest in."""
    if runtime != FP32:
        return registry.load(*loadable(name), "cpu", runtime)
    made: Any = copy(encoder(name, "openvino"))
    made.__dict__["_session"] = OpenVINOSession(made._network(), "fp32")
    return made  # type: ignore[no-any-return]


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
