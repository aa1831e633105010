"""The manifest of an index folder, which names the published generation."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from retrieval.checksums import MISMATCH, Checksum
from retrieval.encoders.base import EncoderSpec
from retrieval.errors import DamagedIndexError, IndexFormatError, NotAnIndexError
from retrieval.storage.layout import Layout
from retrieval.types import ITEM, Modality, Target

SEALED, WITH_ITEMS = 2, 3
"""Formats that this version writes. An index without item vectors is written in the older one, so that older versions
can read it. Format 1 had no checksums; it can be read, and the next job writes a newer format."""

FORMAT = WITH_ITEMS
"""The newest format that this version reads."""


SEAL = re.compile(rb',\n  "checksum": "[^"]*"\n\}\n\Z')
"""The end of a manifest: the SHA-256 of everything before."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Description of a published generation.

    Attributes:
        generation: its number, from 1.
        created: time of publication, ISO 8601, UTC.
        version: version of xmodal that wrote it.
        encoders: the encoder of each modality that the index can be searched with.
        alignment: ``method``, ``fingerprint``, ``dimension`` and the fit's ``report``.
        indexes: for each modality that has assets, ``kind`` and ``vectors`` (their number), among others.
        counts: numbers of items, failures, and assets of each modality.
        settings: options of the job; later jobs use them as defaults.
        sources: where the files were read from; needed for updates only, not for queries.
        files: checksum of each file of the generation's folder, also valid for its second copy.
        features: for each folder of stored features, ``dimension`` and the number of ``rows``.
        numerics: by modality, the runtimes and precisions that its stored features were computed with. They are
            reported but not compared: features of one fingerprint differ only by rounding.
        items: entry of the index of whole items, as in ``indexes``, with the name of its ``fusion``; empty if none.
        format: version of the folder's format.
    """

    generation: int
    created: str
    version: str
    encoders: Mapping[Modality, EncoderSpec]
    alignment: Mapping[str, Any]
    indexes: Mapping[Modality, Mapping[str, Any]]
    counts: Mapping[str, int]
    settings: Mapping[str, Any]
    sources: list[str]
    files: dict[str, Checksum] = field(default_factory=dict)
    features: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    numerics: Mapping[Modality, Sequence[str]] = field(default_factory=dict)
    items: Mapping[str, Any] = field(default_factory=dict)
    format: int = SEALED

    def entry(self, target: Target) -> Mapping[str, Any] | None:
        """Return the entry of the index of a modality or of items; None if there is none."""
        return self.indexes.get(target) if target != ITEM else self.items or None

    @property
    def targets(self) -> tuple[Target, ...]:
        """Modalities, and items if any, that have an index."""
        return (*self.indexes, ITEM) if self.items else tuple(self.indexes)

    def files_of(self, modality: Target) -> dict[str, Checksum]:
        """Return the checksums of the files of a modality's index, by name; empty for format 1, without checksums."""
        return {name: checksum for name, checksum in self.files.items() if name.startswith(f"{modality}.")}

    def as_dict(self) -> dict[str, Any]:
        """Return the manifest as plain JSON values, with each encoder's fingerprint."""
        values = asdict(self)
        values["encoders"] = {
            str(modality): {**asdict(spec), "modality": str(modality), "fingerprint": spec.fingerprint}
            for modality, spec in self.encoders.items()
        }
        values["numerics"] = {str(modality): list(names) for modality, names in self.numerics.items()}
        values["indexes"] = {str(modality): dict(entry) for modality, entry in self.indexes.items()}
        if not self.items:  # as older versions, without item vectors, wrote it
            del values["items"]
        return values

    def write(self, path: Path) -> None:
        """Write to a file beside ``path`` and rename it, so that a reader sees the old or the new manifest."""
        beside = path.with_suffix(".json.new")
        with beside.open("wb") as file:
            file.write(_sealed(json.dumps(self.as_dict(), indent=2, ensure_ascii=False).encode()))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)

    def check_files_quickly(self, root: Path) -> str | None:
        """Check the generation's files in the index folder ``root``; return the first problem, or None.

        Only sizes and first bytes are checked, so that this is quick for files of any size.
        """
        folder = Layout(root).generation(self.generation).folder
        for name, checksum in self.files.items():
            if (problem := checksum.check_quickly(folder / name)) is not None:
                return f"{folder / name} {problem}"
        return None

    @classmethod
    def read(cls, root: Path) -> Manifest:
        """Read the published manifest of the index folder ``root``, and check its files quickly.

        Raises:
            NotAnIndexError: the folder is missing or is not an index.
            IndexFormatError: a newer version wrote it.
            DamagedIndexError: the manifest or a file of its generation does not match its checksum.
        """
        path = Layout(root).manifest
        if not path.is_file():
            raise NotAnIndexError(_no_index(root))
        manifest = cls.load(path)
        while (problem := manifest.check_files_quickly(root)) is not None:
            previous, manifest = manifest, cls.load(path)
            if manifest == previous:  # otherwise a new generation has been published meanwhile
                raise DamagedIndexError(
                    f"{problem}: copy the whole folder again, or run 'xmodal repair {root}'"
                )
        return manifest

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read the manifest in the file ``path``, without checking any other file.

        Raises:
            IndexFormatError: a newer version wrote it.
            DamagedIndexError: it is not a valid manifest, or does not match its checksum.
        """
        try:
            values = _unsealed(path.read_bytes())
            if values["format"] > FORMAT:
                raise IndexFormatError(
                    f"{path} has format {values['format']}, this version reads up to {FORMAT}: upgrade xmodal"
                )
            return cls._parse(values)
        except OSError as error:
            raise DamagedIndexError(f"{path} cannot be read ({error.strerror}): {_RESTORE}") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DamagedIndexError(
                f"{path} is not a valid manifest ({_problem(error)}): {_RESTORE}"
            ) from error

    @classmethod
    def _parse(cls, values: dict[str, Any]) -> Manifest:
        encoders = {}
        for name, entry in values["encoders"].items():
            fields = {key: value for key, value in entry.items() if key != "fingerprint"}
            encoders[Modality(name)] = EncoderSpec(**{**fields, "modality": Modality(name)})
        indexes = {Modality(name): entry for name, entry in values["indexes"].items()}
        files = {name: Checksum(**entry) for name, entry in values.get("files", {}).items()}
        return cls(**{**values, "encoders": encoders, "indexes": indexes, "files": files})


_RESTORE = "run 'xmodal repair' on the index, or copy the whole folder again"


def _sealed(text: bytes) -> bytes:
    """Return a JSON object with its own checksum appended as the last value."""
    return text[:-2] + f',\n  "checksum": "{hashlib.sha256(text).hexdigest()}"\n}}\n'.encode()


def _unsealed(data: bytes) -> dict[str, Any]:
    """Parse a manifest, check its checksum, and return its values without the checksum.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, RecursionError: it is not a valid manifest.
    """
    seal = SEAL.search(data)
    if seal and data != _sealed(data[: seal.start()] + b"\n}"):
        raise ValueError(f"it {MISMATCH}")
    values: dict[str, Any] = json.loads(data)
    sealed_here = values.pop("checksum", None) is not None or SEALED <= values["format"] <= FORMAT
    if sealed_here and not seal:
        raise ValueError("it does not end with its checksum")
    return values


def _problem(error: Exception) -> str:
    return f"it has no value {error}" if isinstance(error, KeyError) else str(error)


def _no_index(root: Path) -> str:
    if not root.exists():
        problem = "does not exist"
    elif Layout(root).generation_numbers():
        problem = "has no manifest.json (half copied, or never finished)"
    else:
        problem = "is not an index"
    return (
        f"{str(root)!r} {problem}: expected a folder with manifest.json, "
        "as made by 'xmodal index SOURCE --out DIR'"
    )
