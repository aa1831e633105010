"""A fitted fusion as an index keeps it, with the modalities whose parts it fuses."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from retrieval.errors import DamagedIndexError
from retrieval.fusion.base import Fusion, Parts
from retrieval.fusion.registry import METHODS
from retrieval.types import Matrix, Modality


@dataclass(frozen=True)
class FittedFusion:
    """How the parts of an item become one vector, and what asks for items is brought beside these.

    Attributes:
        method: the fusion's name.
        modalities: of the parts, in the order that the fusion knows them in.
        fusion: as it was fitted.
    """

    method: str
    modalities: tuple[Modality, ...]
    fusion: Fusion

    @cached_property
    def fingerprint(self) -> str:
        """32 hex digits that differ wherever two fusions do."""
        digest = hashlib.sha256(json.dumps([self.method, *self.modalities]).encode())
        for name, array in sorted(self.fusion.arrays().items()):
            digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:32]

    def query_vector(self, vectors: Matrix, of: Modality | None) -> Matrix:
        """(n, k) float32 of unit norm: (n, d) vectors of the aligned space as items that have nothing else.

        Args:
            vectors: unit rows.
            of: the modality that they are of; None, or one that no item has, is as if they were of every.
        """
        return self.fusion(Parts.single(vectors, of, self.modalities))

    def save(self, path: Path) -> None:
        """Write it to a safetensors file."""
        header = {"method": self.method, "modalities": list(map(str, self.modalities))}
        arrays = {name: np.ascontiguousarray(array) for name, array in self.fusion.arrays().items()}
        save_file(arrays, path, metadata={"fusion": json.dumps(header)})

    @classmethod
    def load(cls, path: Path) -> FittedFusion:
        """Read what ``save`` wrote; it fuses bit for bit the same.

        Raises:
            DamagedIndexError: the file is missing, cut short or no fusion.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                header = json.loads(file.metadata()["fusion"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            modalities = tuple(map(Modality, header["modalities"]))
            return cls(header["method"], modalities, METHODS[header["method"]].restored(arrays, modalities))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise DamagedIndexError(
                f"{path} is not a whole fusion file ({error}): run 'xmodal repair' on the index"
            ) from error
