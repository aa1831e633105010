"""Options and output that several commands share."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

IndexFolder = Annotated[
    Path, typer.Argument(metavar="DIR", help="An index folder, made by 'xmodal index --out DIR'.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Device(StrEnum):
    """Compute device."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Runtime(StrEnum):
    """Library that runs the encoders' networks."""

    AUTO = "auto"
    TORCH = "torch"
    OPENVINO = "openvino"


RuntimeOption = Annotated[
    Runtime,
    typer.Option(
        "--runtime",
        help="Library that runs the encoders' networks. auto: OpenVINO on a CPU, PyTorch on a GPU.",
    ),
]
EncoderFile = Annotated[
    str | None,
    typer.Option(
        metavar="SPEC",
        help="The encoder that the index was built with, named again because its weights file was moved.",
    ),
]
DeviceOption = Annotated[
    Device, typer.Option("--device", help="Compute device. auto: a GPU if PyTorch finds one, else the CPU.")
]


def encoders_by_modality(
    *, text: str | None, image: str | None, audio: str | None, video: str | None
) -> dict[str, str]:
    """Return the encoder of each modality for which an option was given."""
    encoders = {"text": text, "image": image, "audio": audio, "video": video}
    return {modality: name for modality, name in encoders.items() if name is not None}


def print_json(value: Any) -> None:
    """Print ``value`` as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))
