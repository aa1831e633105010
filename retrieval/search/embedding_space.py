"""Encode media to vectors of the aligned space, in the same way for queries and corpus."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from retrieval.alignment.base import Alignment
from retrieval.encoders.base import Encoder, EncoderSpec, check_same_encoder
from retrieval.encoders.registry import load
from retrieval.errors import EncoderMismatchError, MediaError, OptionError, WeightsError
from retrieval.types import Matrix, Modality


class EmbeddingSpace:
    """Encoders and the alignment that was fitted to them.

    An encoder is loaded at its first use, and refused if it is not the one that encoded the index.
    """

    def __init__(
        self,
        encoders: Mapping[Modality, EncoderSpec],
        alignment: Alignment,
        *,
        names: Mapping[Modality, str],
        device: str,
        runtime: str,
    ) -> None:
        """Combine encoders and alignment; nothing is loaded yet.

        Args:
            encoders: the encoders that the index was built with.
            alignment: fitted to their features.
            names: the name to load each encoder by; an encoder's own name does not say where a file of weights is.
            device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
            runtime: ``"auto"``, ``"torch"`` or ``"openvino"``.
        """
        self._specs = encoders
        self._alignment = alignment
        self._names = names
        self._device = device
        self._runtime = runtime
        self._loaded: dict[Modality, Encoder] = {}
        self._loading = threading.Lock()
        # An encoder's network is used by one thread at a time. Video frames use the network of the image encoder.
        self._encoding = {modality: threading.Lock() for modality in Modality}
        self._encoding[Modality.VIDEO] = self._encoding[Modality.IMAGE]

    @property
    def dimension(self) -> int:
        """Number of columns of a vector of the aligned space."""
        return self._alignment.dimension

    def encode(self, modality: Modality, media: Sequence[Any]) -> Matrix:
        """Return n media of one modality in the aligned space, (n, dimension) float32, unit norm.

        Raises:
            OptionError: the index has no encoder for this modality.
            EncoderMismatchError: the encoder is not the one that the index was built with.
            WeightsError: a file of weights is not at the path recorded when the index was built.
            MediaError: a medium cannot be decoded.
        """
        return self.encode_prepared(modality, [self.prepare(modality, medium) for medium in media])

    def prepare(self, modality: Modality, medium: Any) -> Any:
        """Do the work that precedes the network, for one medium; any number of threads may do so at once.

        Raises:
            OptionError, EncoderMismatchError, MediaError: as ``encode``.
        """
        return self.encoder(modality).prepare(medium)

    def encode_prepared(self, modality: Modality, prepared: Sequence[Any]) -> Matrix:
        """Return the results of ``prepare`` for n media in the aligned space, (n, dimension) float32, unit norm."""
        encoder = self.encoder(modality)
        with self._encoding[modality]:
            features = encoder.encode(prepared)
        # The first row of a long clip is the whole clip, which is used as the query.
        rows = np.array([len(encoder.spans(each)) for each in prepared], dtype=np.int64)
        features = features[np.cumsum(rows) - rows]
        return self._alignment.project(modality, features)

    def warm(self) -> None:
        """Load all encoders and encode a word and a picture, because a network is compiled at its first use.

        Video frames use the network of the image encoder. Without one, the first video query loads the network.

        Raises:
            EncoderMismatchError, WeightsError: as ``encode``.
        """
        from PIL import Image

        examples = {Modality.TEXT: "words", Modality.IMAGE: Image.new("RGB", (64, 64))}
        for modality in self._specs:
            self.encoder(modality)
            if modality in examples:
                with suppress(MediaError):  # encoders that accept only given vectors
                    self.encode(modality, [examples[modality]])

    def encoder(self, modality: Modality) -> Encoder:
        """Return the encoder of a modality, loading it at the first use.

        Raises:
            OptionError, EncoderMismatchError: as ``encode``.
        """
        with self._loading:
            if modality not in self._loaded:
                if modality not in self._specs:
                    raise OptionError(
                        f"this index has no encoder for {modality} queries: "
                        f"it has encoders for {', '.join(self._specs)}"
                    )
                spec = self._specs[modality]
                name = self._names.get(modality, spec.name)
                try:
                    encoder = load(name, modality, self._device, self._runtime)
                except WeightsError as error:
                    raise WeightsError(
                        f"{error}; to search, give its new location with --{modality}-encoder, or "
                        f"encoders={{'{modality}': ...}}"
                    ) from error
                check_same_encoder(spec, encoder.spec)
                self._loaded[modality] = encoder
            return self._loaded[modality]


def encoder_names(
    built_with: Mapping[str, str], specs: Mapping[Modality, EncoderSpec], overrides: Mapping[str, str]
) -> dict[Modality, str]:
    """Return the name to load each encoder by: the one used to build the index, unless it is overridden.

    Args:
        built_with: by modality, the names that the index was built with.
        specs: the encoders that the index was built with.
        overrides: by modality, other names of the same encoders, for example with new paths of weights.

    Raises:
        OptionError: a modality is unknown.
        EncoderMismatchError: an override names another encoder.
    """
    names = {Modality(modality): name for modality, name in built_with.items()}
    for modality_name, name in overrides.items():
        modality = Modality.parse(modality_name)
        built = specs.get(modality)
        # Only the kind of encoder is compared here. Loading compares the fingerprint, which identifies the model.
        if built is None or name.partition(":")[0] != built.name.partition(":")[0]:
            expected = f"{built.name} ({built.fingerprint[:12]})" if built else "none"
            raise EncoderMismatchError(
                f"the index was built with {modality_name} encoder {expected}, not {name}: "
                "open it with the former or build the index again with the latter"
            )
        names[modality] = name
    return names
