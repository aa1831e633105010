"""From media to vectors of the aligned space: the one way that queries and corpus both take."""

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
    """Encoders and an alignment that belong together.

    An encoder is loaded at its first use, and refused if it is not the one whose vectors the index holds.
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
        """Bring encoders and alignment together; nothing is loaded yet.

        Args:
            encoders: what the index was built with.
            alignment: of their features.
            names: what to load each by: an encoder's own name does not say where a file of weights is.
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
        # An encoder's network is used by one thread at a time; the frames of videos go through that of pictures.
        self._encoding = {modality: threading.Lock() for modality in Modality}
        self._encoding[Modality.VIDEO] = self._encoding[Modality.IMAGE]

    @property
    def dimension(self) -> int:
        """Columns of a vector of the aligned space."""
        return self._alignment.dimension

    def encode(self, modality: Modality, media: Sequence[Any]) -> Matrix:
        """(n, dimension) float32, unit norm: n media of one modality in the aligned space.

        Raises:
            OptionError: the index has no encoder for this modality.
            EncoderMismatchError: the encoder at hand is not the one the index was built with.
            WeightsError: a file of weights is not where it was when the index was built.
            MediaError: a medium cannot be decoded.
        """
        return self.encode_prepared(modality, [self.prepare(modality, medium) for medium in media])

    def prepare(self, modality: Modality, medium: Any) -> Any:
        """What can be done for one medium before the network, by any number of threads at once.

        Raises:
            OptionError, EncoderMismatchError, MediaError: as ``encode``.
        """
        return self.encoder(modality).prepare(medium)

    def encode_prepared(self, modality: Modality, prepared: Sequence[Any]) -> Matrix:
        """(n, dimension) float32, unit norm: what ``prepare`` gave for n media, in the aligned space."""
        encoder = self.encoder(modality)
        with self._encoding[modality]:
            features = encoder.encode(prepared)
        # Of a long clip's rows the first is the whole, and that is what is asked by.
        rows = np.array([len(encoder.spans(each)) for each in prepared], dtype=np.int64)
        features = features[np.cumsum(rows) - rows]
        return self._alignment.project(modality, features)

    def warm(self) -> None:
        """Load all encoders, and encode a word and a picture: networks are read and compiled with what comes first.

        A video's frames go through the network of pictures; where the index has none, the first one waits for it.

        Raises:
            EncoderMismatchError, WeightsError: as ``encode``.
        """
        from PIL import Image

        examples = {Modality.TEXT: "words", Modality.IMAGE: Image.new("RGB", (64, 64))}
        for modality in self._specs:
            self.encoder(modality)
            if modality in examples:
                with suppress(MediaError):  # of what takes given vectors alone
                    self.encode(modality, [examples[modality]])

    def encoder(self, modality: Modality) -> Encoder:
        """The encoder of a modality, loaded.

        Raises:
            OptionError, EncoderMismatchError: as ``encode``.
        """
        with self._loading:
            if modality not in self._loaded:
                if modality not in self._specs:
                    raise OptionError(
                        f"this index cannot be asked by {modality}: "
                        f"it has encoders for {', '.join(self._specs)}"
                    )
                spec = self._specs[modality]
                name = self._names.get(modality, spec.name)
                try:
                    encoder = load(name, modality, self._device, self._runtime)
                except WeightsError as error:
                    raise WeightsError(
                        f"{error}; to search, say where with --{modality}-encoder, or encoders={{'{modality}': ...}}"
                    ) from error
                check_same_encoder(spec, encoder.spec)
                self._loaded[modality] = encoder
            return self._loaded[modality]


def encoder_names(
    known: Mapping[str, str], specs: Mapping[Modality, EncoderSpec], given: Mapping[str, str]
) -> dict[Modality, str]:
    """What to load each encoder by: as it was named for the index, unless it is named anew.

    Args:
        known: by modality, what the index was made with.
        specs: what that was.
        given: by modality, where it is now.

    Raises:
        OptionError: a modality is unknown.
        EncoderMismatchError: another encoder is named.
    """
    names = {Modality(name): own for name, own in known.items()}
    for name, wanted in given.items():
        modality = Modality.parse(name)
        built = specs.get(modality)
        # Whether it is the same model, and not only one of its kind, its fingerprint tells when it is loaded.
        if built is None or wanted.partition(":")[0] != built.name.partition(":")[0]:
            was = f"{built.name} ({built.fingerprint[:12]})" if built else "none"
            raise EncoderMismatchError(
                f"the index was built with {name} encoder {was}, not {wanted}: "
                "open it with the former or index again with the latter"
            )
        names[modality] = wanted
    return names
