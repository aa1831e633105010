"""What several commands take and print alike."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

Index = Annotated[
    Path, typer.Argument(metavar="DIR", help="An index folder, as 'xmodal index --out' made it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Device(StrEnum):
    """Where to compute."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Runtime(StrEnum):
    """What computes the encoders' networks."""

    AUTO = "auto"
    TORCH = "torch"
    OPENVINO = "openvino"


ByRuntime = Annotated[Runtime, typer.Option("--runtime", help="What computes the encoders' networks.")]
Moved = Annotated[
    str | None,
    typer.Option(
        metavar="SPEC", help="The index's own encoder, where its weights are no longer where they were."
    ),
]
OnDevice = Annotated[Device, typer.Option("--device", help="Where to compute.")]


def by_modality(text: str | None, image: str | None, audio: str | None, video: str | None) -> dict[str, str]:
    """The options that were given."""
    named = {"text": text, "image": image, "audio": audio, "video": video}
    return {modality: name for modality, name in named.items() if name is not None}


def print_json(value: Any) -> None:
    """Print ``value`` as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))
