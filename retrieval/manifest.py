"""The index folder: what lies where in it, and the manifest that says which generation is published."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from retrieval.encoders.base import EncoderSpec
from retrieval.errors import DamagedIndexError, IndexFormatError, NotAnIndexError
from retrieval.types import Modality

FORMAT = 1
"""The format this version writes, and the newest it reads."""


@dataclass(frozen=True, slots=True)
class Generation:
    """The files of one generation, which never change once it is published."""

    folder: Path

    @property
    def catalog(self) -> Path:
        """SQLite: items, assets, failures."""
        return self.folder / "catalog.sqlite"

    @property
    def alignment(self) -> Path:
        """The fitted maps into the aligned space."""
        return self.folder / "alignment.safetensors"

    def vectors(self, modality: Modality) -> Path:
        """The FAISS index of one modality."""
        return self.folder / f"{modality}.faiss"

    def assets(self, modality: Modality) -> Path:
        """(n, 2) int64: for each row of the FAISS index its asset, and the whole it is a segment of."""
        return self.folder / f"{modality}.assets.npy"

    def is_whole(self, modalities: Mapping[Modality, Any]) -> bool:
        """Whether every file that an index of these modalities needs is there."""
        files = [self.catalog, self.alignment]
        files += [path for modality in modalities for path in (self.vectors(modality), self.assets(modality))]
        return all(path.is_file() for path in files)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things lie in an index folder. Nothing outside this class joins these names."""

    root: Path

    @property
    def manifest(self) -> Path:
        """The manifest: replacing it in one rename is what publishes a generation."""
        return self.root / "manifest.json"

    @property
    def lock(self) -> Path:
        """Held by the job that writes."""
        return self.root / "lock"

    @property
    def generations(self) -> Path:
        """The folder of all generations."""
        return self.root / "generations"

    def generation(self, number: int) -> Generation:
        """The files of generation ``number``."""
        return Generation(self.generations / f"{number:06d}")

    def features(self, spec: EncoderSpec) -> Path:
        """The folder of one encoder's stored features, shared by all generations."""
        return self.root / "features" / f"{spec.modality}-{spec.fingerprint}"


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
        numerics: by modality, which runtimes and precisions its stored features were computed in. They are said,
            not compared: those of one fingerprint differ by rounding.
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
    numerics: Mapping[Modality, Sequence[str]] = field(default_factory=dict)
    format: int = field(default=FORMAT)

    def as_dict(self) -> dict[str, Any]:
        """The manifest as plain JSON values; each encoder with its fingerprint."""
        values = asdict(self)
        values["encoders"] = {
            str(modality): {**asdict(spec), "modality": str(modality), "fingerprint": spec.fingerprint}
            for modality, spec in self.encoders.items()
        }
        values["numerics"] = {str(modality): list(own) for modality, own in self.numerics.items()}
        values["indexes"] = {str(modality): dict(entry) for modality, entry in self.indexes.items()}
        return values

    def write(self, path: Path) -> None:
        """Publish: write beside ``path``, then rename over it, so that a reader sees the old or the new."""
        beside = path.with_suffix(".json.new")
        with beside.open("w", encoding="utf-8") as file:
            json.dump(self.as_dict(), file, indent=2, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)

    @classmethod
    def read(cls, root: Path) -> Manifest:
        """The published manifest of the index folder ``root``.

        Raises:
            NotAnIndexError: the folder is missing or no index.
            IndexFormatError: a newer version wrote it.
            DamagedIndexError: the manifest does not parse, or files of its generation are missing.
        """
        path = Layout(root).manifest
        if not path.is_file():
            what = "is no index" if root.exists() else "does not exist"
            raise NotAnIndexError(
                f"{str(root)!r} {what}: expected a folder with manifest.json, "
                "as 'xmodal index SOURCE --out DIR' makes it"
            )
        try:
            manifest = cls._parse(json.loads(path.read_text(encoding="utf-8")), root)
            is_whole = Layout(root).generation(manifest.generation).is_whole(manifest.indexes)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedIndexError(
                f"{path} does not parse ({error!r}): restore or rebuild the index"
            ) from error
        if not is_whole:
            raise DamagedIndexError(
                f"files of generation {manifest.generation} are missing in {root}: "
                "copy the whole folder again or rebuild the index"
            )
        return manifest

    @classmethod
    def _parse(cls, values: dict[str, Any], root: Path) -> Manifest:
        if values["format"] > FORMAT:
            raise IndexFormatError(
                f"{str(root)!r} has format {values['format']}, this version reads up to {FORMAT}: "
                "upgrade xmodal"
            )
        encoders = {}
        for name, entry in values["encoders"].items():
            fields = {key: value for key, value in entry.items() if key != "fingerprint"}
            encoders[Modality(name)] = EncoderSpec(**{**fields, "modality": Modality(name)})
        indexes = {Modality(name): entry for name, entry in values["indexes"].items()}
        return cls(**{**values, "encoders": encoders, "indexes": indexes})
