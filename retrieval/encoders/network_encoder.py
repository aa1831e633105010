"""What encoders with a network have in common: it is described first, and read at its first use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence, Sized
from functools import cached_property
from typing import Any

import numpy as np

from retrieval.encoders.base import WHOLE, ClassHead, EncoderSpec, PartLayout, Span
from retrieval.runtimes.base import Batch, Network, Session
from retrieval.runtimes.registry import session
from retrieval.types import Matrix


class NetworkEncoder(ABC):
    """An encoder whose rows a network computes; see ``Encoder`` for what is public here.

    Attributes:
        spec: what this encoder is.
        parts: how its rows hold parts, where they do.
    """

    spec: EncoderSpec
    parts: PartLayout | None = None

    def __init__(self, device: str, runtime: str = "auto") -> None:
        """Compute on a resolved ``device`` by ``runtime``."""
        self._device = device
        self._runtime = runtime

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.spec.name!r}, device={self._device!r}, runtime={self._runtime!r})"
        )

    @abstractmethod
    def _network(self) -> Network:
        """The network, described."""

    @cached_property
    def _session(self) -> Session:
        return session(self._network(), device=self._device, runtime=self._runtime)

    def release(self) -> None:
        """Let go of the network; it is read again when it is needed."""
        self.__dict__.pop("_session", None)

    @property
    def numerics(self) -> str:
        """See ``Encoder.numerics``."""
        return self._session.numerics

    def spans(self, prepared: Any) -> Sequence[Span]:  # noqa: ARG002 - one row, whatever it is
        """See ``Encoder.spans``."""
        return WHOLE

    def class_head(self) -> ClassHead | None:
        """None: there is no classifier."""
        return None

    def _rows(self, batches: Sequence[Batch]) -> Matrix:
        """(n, dimension) float32 rows of all batches, in order; of none, none."""
        if not batches:
            return np.empty((0, self.spec.dimension), np.float32)
        return np.concatenate(self._session.run(batches))


def sum_per_medium(rows: Matrix, prepared: Sequence[Sized]) -> Matrix:
    """(n, d) float32: of each of n media the sum of its rows, as many as what was prepared of it has parts.

    Args:
        rows: (m, d) float32, one medium's after the other's.
        prepared: of each medium its parts, at least one.
    """
    counts = np.array([len(each) for each in prepared], np.int64)
    sums: Matrix = np.add.reduceat(rows, np.cumsum(counts) - counts, axis=0)
    return sums
