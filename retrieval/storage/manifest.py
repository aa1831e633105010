"""The index folder: what lies where in it, and the manifest that says which generation is published."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from retrieval.checksums import Checksum
from retrieval.encoders.base import EncoderSpec
from retrieval.errors import DamagedIndexError, IndexFormatError, NotAnIndexError
from retrieval.storage.layout import Layout
from retrieval.types import ITEM, Modality, Target

SEALED, WITH_ITEMS = 2, 3
"""The formats this version writes: an index without items in the older one, for versions that know no items.
Format 1 had no checksums; it is read, and written anew by the next job."""

FORMAT = WITH_ITEMS
"""The newest format this version reads."""


SEAL = re.compile(rb',\n  "checksum": "[^"]*"\n\}\n\Z')
"""How a manifest ends: with the SHA-256 of all that stands before."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a published generation is made of.

    Attributes:
        generation: its number, from 1.
        created: when it was published, ISO 8601, UTC.
        version: of xmodal that wrote it.
        encoders: the encoder of each modality that the index can be searched with.
        alignment: ``method``, ``fingerprint``, ``dimension`` and the fit's ``report``.
        indexes: for each modality that has assets, ``kind`` and ``vectors`` (how many).
        counts: items, failures, and assets a modality.
        settings: what the job was asked for, and will do again when it is run without these options.
        sources: where the files were read from: for updates only, a query needs none of it.
        files: the checksum of each file of the generation's folder, and so of those that are kept twice.
        features: for each folder of stored features, ``dimension`` and how many ``rows`` there were.
        numerics: by modality, which runtimes and precisions its stored features were computed in. They are said,
            not compared: those of one fingerprint differ by rounding.
        items: of the index of whole items, its entry as in ``indexes`` and the ``fusion``'s name; empty without one.
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
        """Of the index of a modality or of items; None where there is none."""
        return self.indexes.get(target) if target != ITEM else self.items or None

    @property
    def targets(self) -> tuple[Target, ...]:
        """What there is an index of."""
        return (*self.indexes, ITEM) if self.items else tuple(self.indexes)

    def files_of(self, modality: Target) -> dict[str, Checksum]:
        """The files of a modality's index, with what they hold; none in an index of before there were checksums."""
        return {name: checksum for name, checksum in self.files.items() if name.startswith(f"{modality}.")}

    def as_dict(self) -> dict[str, Any]:
        """The manifest as plain JSON values; each encoder with its fingerprint."""
        values = asdict(self)
        values["encoders"] = {
            str(modality): {**asdict(spec), "modality": str(modality), "fingerprint": spec.fingerprint}
            for modality, spec in self.encoders.items()
        }
        values["numerics"] = {str(modality): list(own) for modality, own in self.numerics.items()}
        values["indexes"] = {str(modality): dict(entry) for modality, entry in self.indexes.items()}
        if not self.items:  # as versions wrote it that knew no items
            del values["items"]
        return values

    def write(self, path: Path) -> None:
        """Write beside ``path``, then rename over it, so that a reader sees the old or the new."""
        beside = path.with_suffix(".json.new")
        with beside.open("wb") as file:
            file.write(_sealed(json.dumps(self.as_dict(), indent=2, ensure_ascii=False).encode()))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)

    def glance(self, root: Path) -> str | None:
        """What can be seen to be wrong with the generation's files in the index folder ``root`` at a glance.

        Their sizes and first bytes are looked at, so that this is quick however large they are.
        """
        folder = Layout(root).generation(self.generation).folder
        for name, checksum in self.files.items():
            if (problem := checksum.glance(folder / name)) is not None:
                return f"{folder / name} {problem}"
        return None

    @classmethod
    def read(cls, root: Path) -> Manifest:
        """The published manifest of the index folder ``root``, whose files are there as far as a glance shows.

        Raises:
            NotAnIndexError: the folder is missing or no index.
            IndexFormatError: a newer version wrote it.
            DamagedIndexError: the manifest is not what was written, or files of its generation are not.
        """
        path = Layout(root).manifest
        if not path.is_file():
            raise NotAnIndexError(_no_index(root))
        manifest = cls.load(path)
        while (problem := manifest.glance(root)) is not None:
            before, manifest = manifest, cls.load(path)
            if manifest == before:  # and not another one, published since
                raise DamagedIndexError(
                    f"{problem}: copy the whole folder again, or run 'xmodal repair {root}'"
                )
        return manifest

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """The manifest in the file ``path``, without a look at anything else.

        Raises:
            IndexFormatError: a newer version wrote it.
            DamagedIndexError: it is not what was written.
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
            raise DamagedIndexError(f"{path} is not what was written ({error}): {_RESTORE}") from error

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
    """A JSON object with its own checksum as its last value."""
    return text[:-2] + f',\n  "checksum": "{hashlib.sha256(text).hexdigest()}"\n}}\n'.encode()


def _unsealed(data: bytes) -> dict[str, Any]:
    """What a manifest holds, without its checksum.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, RecursionError: it is not what was written.
    """
    seal = SEAL.search(data)
    if seal and data != _sealed(data[: seal.start()] + b"\n}"):
        raise ValueError("its checksum differs")
    values: dict[str, Any] = json.loads(data)
    sealed_here = values.pop("checksum", None) is not None or SEALED <= values["format"] <= FORMAT
    if sealed_here and not seal:
        raise ValueError("it does not end in its checksum")
    return values


def _no_index(root: Path) -> str:
    if not root.exists():
        what = "does not exist"
    elif Layout(root).numbered():
        what = "has no manifest.json (half copied, or never finished)"
    else:
        what = "is no index"
    return (
        f"{str(root)!r} {what}: expected a folder with manifest.json, "
        "as 'xmodal index SOURCE --out DIR' makes it"
    )
