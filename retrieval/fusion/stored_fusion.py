"""A fitted fusion as stored in an index, with the modalities that it fuses."""

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
    """A fitted fusion: turns the parts of items, and queries, into vectors of one space.

    Attributes:
        method: name of the fusion method.
        modalities: modalities of the parts, in the order used when fitting.
        fusion: the fitted fusion.
    """

    method: str
    modalities: tuple[Modality, ...]
    fusion: Fusion

    @cached_property
    def fingerprint(self) -> str:
        """32 hex digits that differ if two fusions differ."""
        digest = hashlib.sha256(json.dumps([self.method, *self.modalities]).encode())
        for name, array in sorted(self.fusion.arrays().items()):
            digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:32]

    def query_vector(self, vectors: Matrix, of: Modality | None) -> Matrix:
        """Return (n, k) float32 query vectors of unit norm: (n, d) aligned vectors fused as items with one part.

        Args:
            vectors: rows of unit norm.
            of: their modality; None, or a modality that no item has, counts as every modality.
        """
        return self.fusion(Parts.single(vectors, of, self.modalities))

    def save(self, path: Path) -> None:
        """Write the fusion to a safetensors file."""
        header = {"method": self.method, "modalities": list(map(str, self.modalities))}
        arrays = {name: np.ascontiguousarray(array) for name, array in self.fusion.arrays().items()}
        save_file(arrays, path, metadata={"fusion": json.dumps(header)})

    @classmethod
    def load(cls, path: Path) -> FittedFusion:
        """Read a file written by ``save``; the loaded fusion gives bit-identical results.

        Raises:
            DamagedIndexError: the file is missing, truncated or not a fusion.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                header = json.loads(file.metadata()["fusion"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            modalities = tuple(map(Modality, header["modalities"]))
            return cls(header["method"], modalities, METHODS[header["method"]].restored(arrays, modalities))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise DamagedIndexError(
                f"{path} is not a complete fusion file ({error}): run 'xmodal repair' on the index"
            ) from error
