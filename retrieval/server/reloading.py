"""The generation of an index that a server answers from, and going over to the next one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

from retrieval.errors import XmodalError
from retrieval.search.engine import SearchEngine
from retrieval.server.open_generation import OpenGeneration
from retrieval.server.prometheus import Metrics
from retrieval.server.thread_pools import ThreadPools
from retrieval.storage.layout import Layout

CHECK_INTERVAL = 1.0
"""Seconds between two looks at the manifest."""


class ReloadingIndex:
    """Always one open generation: requests under way end on the one they began on."""

    def __init__(
        self,
        folder: Path,
        opening: Callable[[], SearchEngine],
        *,
        roots: Sequence[Path],
        workers: ThreadPools,
        metrics: Metrics,
    ) -> None:
        """Open the published generation of the index in ``folder``.

        Args:
            folder: the index.
            opening: opens its published generation.
            roots: where the sources' files are now; where they were when empty.
            workers: the threads to use.
            metrics: told of the generation, and of what is done in batches.

        Raises:
            XmodalError: it cannot be opened.
        """
        self._folder, self._opening, self._roots = folder, opening, roots
        self._workers, self._metrics = workers, metrics
        self._seen = self._mark()
        self._current = self._open()
        self._looked = monotonic()
        self._reload: asyncio.Task[None] | None = None
        self.problem: str | None = None
        """The kind of error that a newer generation could not be opened for; the log has the whole of it."""

    async def stop(self) -> None:
        """Close what is open."""
        if self._reload is not None:
            await self._reload
        self._current.retire()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[OpenGeneration]:
        """The open generation, which stays open to the end of the block."""
        self._look()
        current = self._current
        with current.in_use():
            yield current

    def _look(self) -> None:
        """Begin to go over to the generation that was published, if one was."""
        now = monotonic()
        if now - self._looked < CHECK_INTERVAL or (self._reload is not None and not self._reload.done()):
            return
        self._looked = now
        if (mark := self._mark()) != self._seen:
            self._seen = mark
            self._reload = asyncio.create_task(self._go_over())

    async def _go_over(self) -> None:
        try:
            opened = await asyncio.to_thread(self._open)
        except (XmodalError, OSError) as error:
            self.problem = type(error).__name__
            logging.getLogger(__name__).exception("the new generation cannot be opened")
            return
        old, self._current, self.problem = self._current, opened, None
        old.retire()

    def _open(self) -> OpenGeneration:
        opened = OpenGeneration(
            self._opening(), roots=self._roots, workers=self._workers, metrics=self._metrics
        )
        self._metrics.generation.set(opened.generation)
        return opened

    def _mark(self) -> tuple[int, int, int] | None:
        """What changes when a manifest is published."""
        try:
            status = Layout(self._folder).manifest.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size
