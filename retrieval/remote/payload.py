"""Query terms as they are sent to a server: plain values, and the content of files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np

from retrieval.errors import MediaError, OptionError
from retrieval.media import audio, images
from retrieval.media.source import open_source
from retrieval.types import Term

_KINDS = {"image": "picture", "audio": "sound", "video": "video"}
_ACCEPTED = {"image": images.ACCEPTED, "audio": audio.ACCEPTED, "video": "a path or bytes"}


def encode_terms(terms: Sequence[Term]) -> tuple[list[dict[str, Any]], dict[str, tuple[str, bytes]]]:
    """Return the terms as ``/api/search`` takes them, and the name and content of each file by its form part.

    Raises:
        MediaError: a file cannot be read.
        OptionError: a value has the wrong type for its kind.
    """
    values: list[dict[str, Any]] = []
    files: dict[str, tuple[str, bytes]] = {}
    for at, term in enumerate(terms):
        value: dict[str, Any] = {"kind": term.kind, "weight": term.weight}
        if term.kind in _KINDS:
            value["upload"] = f"file-{at}"
            files[value["upload"]] = (term.kind, _content(term))
        elif term.kind == "vector":
            value["value"] = _numbers(term.value)
        elif isinstance(term.value, str):
            value["value"] = term.value
        elif term.kind == "text":
            raise MediaError(f"expected text as a str, not {type(term.value).__name__}")
        else:
            raise OptionError(f"an item's id is a str, not {type(term.value).__name__}")
        values.append(value)
    return values, files


def _numbers(vector: Any) -> list[float]:
    array = np.asarray(vector, np.float32)
    if array.ndim != 1:
        raise OptionError(
            f"a query vector must hold finite numbers in one dimension, not shape {array.shape}"
        )
    numbers: list[float] = array.tolist()
    return numbers


def _content(term: Term) -> bytes:
    """Return the medium as the bytes of a file; pictures and samples in memory are encoded as PNG and WAV."""
    medium, kind = term.value, _KINDS[term.kind]
    if term.kind == "audio" and isinstance(medium, tuple):
        return _wav(medium)
    if term.kind == "image" and not isinstance(medium, str | bytes | os.PathLike):
        return _png(medium)
    name = os.fspath(medium) if isinstance(medium, str | os.PathLike) else f"{kind} in memory"
    try:
        with open_source(medium, kind=kind, accepted=_ACCEPTED[term.kind]) as file:
            return file.read()
    except MediaError as error:
        raise MediaError(f"{name}: {error}") from None
    except OSError as error:
        raise MediaError(f"{name}: cannot be read as a {kind}: {error.strerror or error}") from error


def _png(image: Any) -> bytes:
    buffer = BytesIO()
    images.load_image(image).save(buffer, "PNG")
    return buffer.getvalue()


def _wav(medium: tuple[Any, ...]) -> bytes:
    import soundfile

    clip = audio.load_audio(medium)  # raises an error that explains what is wrong with it
    buffer = BytesIO()
    soundfile.write(buffer, clip.samples, clip.rate, subtype="FLOAT", format="WAV")
    return buffer.getvalue()
