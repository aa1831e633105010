"""Serve the published generation of an index, and switch to a new one when it is published."""

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
"""Minimum seconds between two checks of the manifest."""


class ReloadingIndex:
    """An index with one current open generation; each request finishes on the generation it started on."""

    def __init__(
        self,
        folder: Path,
        open_engine: Callable[[], SearchEngine],
        *,
        roots: Sequence[Path],
        pools: ThreadPools,
        metrics: Metrics,
    ) -> None:
        """Open the published generation of the index in ``folder``.

        Args:
            folder: the index.
            open_engine: opens the published generation.
            roots: where the sources' files are now; if empty, where they were indexed.
            pools: the threads to use.
            metrics: updated with the generation and the sizes of batches.

        Raises:
            XmodalError: the generation cannot be opened.
        """
        self._folder, self._open_engine, self._roots = folder, open_engine, roots
        self._pools, self._metrics = pools, metrics
        self._manifest_state = self._read_manifest_state()
        self._current = self._open()
        self._last_check = monotonic()
        self._reload: asyncio.Task[None] | None = None
        self.problem: str | None = None
        """Class name of the error that kept a newer generation from being opened; the log has the full error."""

    async def stop(self) -> None:
        """Close the current generation."""
        if self._reload is not None:
            await self._reload
        self._current.retire()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[OpenGeneration]:
        """Give the current generation, which stays open until the end of the block."""
        self._check_manifest()
        current = self._current
        with current.in_use():
            yield current

    def _check_manifest(self) -> None:
        """Start to open the new generation if one was published."""
        now = monotonic()
        if now - self._last_check < CHECK_INTERVAL or (self._reload is not None and not self._reload.done()):
            return
        self._last_check = now
        if (state := self._read_manifest_state()) != self._manifest_state:
            self._manifest_state = state
            self._reload = asyncio.create_task(self._switch())

    async def _switch(self) -> None:
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
            self._open_engine(), roots=self._roots, pools=self._pools, metrics=self._metrics
        )
        self._metrics.generation.set(opened.generation)
        return opened

    def _read_manifest_state(self) -> tuple[int, int, int] | None:
        """Return inode, modification time and size of the manifest, which change when a new one is published."""
        try:
            status = Layout(self._folder).manifest.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size
