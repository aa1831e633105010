"""Encode queries: each is decoded separately, then encoded in batches, with a separate queue for each modality."""

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

Prepare: TypeAlias = Callable[[], Any]
"""Returns what the encoder's ``prepare`` made of a medium."""


class EncodeQueue:
    """The queries of one modality. A long video delays other videos, but no query of another modality."""

    def __init__(
        self, space: EmbeddingSpace, modality: Modality, pools: ThreadPools, metrics: Metrics
    ) -> None:
        self._space = space
        self._modality = modality
        self._decoding = pools.decoding[modality]
        self._encode: Batcher[Prepare, Matrix] = Batcher(
            self._encode_batch,
            pools.encoding[modality],
            max_batch=64,
            max_waiting=256,
            on_batch=metrics.batches.labels(f"encode-{modality}").observe,
        )

    async def text(self, text: str) -> Matrix:
        """Return the vector of a text in the aligned space: (d,) float32, unit norm.

        Raises:
            MediaError: the text is empty.
            BusyError: too many requests are waiting already.
        """
        # Preparing a text takes microseconds, so it is done in the batch's thread.
        return await self._encode(partial(self._space.prepare, self._modality, text))

    async def file(self, upload: UploadFile) -> Matrix:
        """Return the vector of a file in the aligned space: (d,) float32, unit norm.

        Raises:
            MediaError: the file cannot be decoded.
            BusyError: too many requests are waiting already.
        """
        async with self._decoding.gate:  # limits how many files are in memory at a time
            data = await upload.read()
            prepared = await self._decoding.run_inside_gate(
                partial(self._space.prepare, self._modality, data)
            )
        del data
        return await self._encode(lambda: prepared)

    def _encode_batch(self, prepares: Sequence[Prepare]) -> list[Matrix | Exception]:
        outcomes: list[Matrix | Exception] = []
        prepared = []
        for prepare in prepares:
            try:
                prepared.append(prepare())
                outcomes.append(np.empty(0, np.float32))
            except MediaError as error:
                outcomes.append(error)
        if prepared:
            rows = iter(self._space.encode_prepared(self._modality, prepared))
            outcomes = [each if isinstance(each, Exception) else next(rows) for each in outcomes]
        return outcomes
