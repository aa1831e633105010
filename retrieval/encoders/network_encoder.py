"""Base of encoders with a network: the network is described first, and loaded at its first use."""

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
    """An encoder whose rows a network computes; see ``Encoder`` for the public methods.

    Attributes:
        spec: identity of this encoder.
        parts: layout of the parts in its rows; None if there are none.
    """

    spec: EncoderSpec
    parts: PartLayout | None = None

    def __init__(self, device: str, runtime: str = "auto") -> None:
        """Compute on the resolved ``device`` with ``runtime``."""
        self._device = device
        self._runtime = runtime

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.spec.name!r}, device={self._device!r}, runtime={self._runtime!r})"
        )

    @abstractmethod
    def _network(self) -> Network:
        """Return the description of the network."""

    @cached_property
    def _session(self) -> Session:
        return session(self._network(), device=self._device, runtime=self._runtime)

    def release(self) -> None:
        """Release the network; it is loaded again when needed."""
        self.__dict__.pop("_session", None)

    @property
    def numerics(self) -> str:
        """See ``Encoder.numerics``."""
        return self._session.numerics

    def spans(self, prepared: Any) -> Sequence[Span]:  # noqa: ARG002 - always one row
        """See ``Encoder.spans``."""
        return WHOLE

    def class_head(self) -> ClassHead | None:
        """Return None: there is no classifier."""
        return None

    def _rows(self, batches: Sequence[Batch]) -> Matrix:
        """Return the (n, dimension) float32 rows of all batches, in order; no rows for no batches."""
        if not batches:
            return np.empty((0, self.spec.dimension), np.float32)
        return np.concatenate(self._session.run(batches))


def sum_per_medium(rows: Matrix, prepared: Sequence[Sized]) -> Matrix:
    """Return the (n, d) float32 sums of the rows of each of n media; a medium has ``len(prepared[i])`` rows.

    Args:
        rows: (m, d) float32, one medium after the other.
        prepared: for each medium its windows or views, at least one.
    """
    counts = np.array([len(each) for each in prepared], np.int64)
    sums: Matrix = np.add.reduceat(rows, np.cumsum(counts) - counts, axis=0)
    return sums
