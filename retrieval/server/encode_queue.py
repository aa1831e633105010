"""Encoding queries: decoded each by itself, encoded together, every modality in a lane of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from starlette.datastructures import UploadFile

from retrieval.errors import MediaError
from retrieval.search.embedding_space import EmbeddingSpace
from retrieval.server.batching import Batcher
from retrieval.server.prometheus import Metrics
from retrieval.server.thread_pools import ThreadPools
from retrieval.types import Matrix, Modality

Ready: TypeAlias = Callable[[], Any]
"""Gives what the encoder's ``prepare`` gave."""


class EncodeQueue:
    """The queries of one modality. A long video delays others of its kind, and nothing else."""

    def __init__(
        self, space: EmbeddingSpace, modality: Modality, workers: ThreadPools, metrics: Metrics
    ) -> None:
        self._space = space
        self._modality = modality
        self._decoding = workers.decoding[modality]
        self._encode: Batcher[Ready, Matrix] = Batcher(
            self._work,
            workers.encoding[modality],
            most=64,
            waiting=256,
            seen=metrics.batches.labels(f"encode-{modality}").observe,
        )

    async def words(self, text: str) -> Matrix:
        """(d,) float32, unit norm: words in the aligned space.

        Raises:
            MediaError: there are none.
            BusyError: too many wait already.
        """
        # Microseconds: they are prepared together with the others of their batch.
        return await self._encode(partial(self._space.prepare, self._modality, text))

    async def file(self, upload: UploadFile) -> Matrix:
        """(d,) float32, unit norm: a file in the aligned space.

        Raises:
            MediaError: it cannot be decoded.
            BusyError: too many wait already.
        """
        async with self._decoding.gate:  # which is how many files are in memory at a time
            data = await upload.read()
            prepared = await self._decoding.inside(partial(self._space.prepare, self._modality, data))
        del data
        return await self._encode(lambda: prepared)

    def _work(self, ready: Sequence[Ready]) -> list[Matrix | Exception]:
        outcomes: list[Matrix | Exception] = []
        prepared = []
        for each in ready:
            try:
                prepared.append(each())
                outcomes.append(np.empty(0, np.float32))
            except MediaError as error:
                outcomes.append(error)
        if prepared:
            rows = iter(self._space.encode_prepared(self._modality, prepared))
            outcomes = [each if isinstance(each, Exception) else next(rows) for each in outcomes]
        return outcomes
