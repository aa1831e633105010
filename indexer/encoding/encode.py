"""Reading and encoding: bounded look-ahead, batches, and failures that cost no more than their own file."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from indexer.corpus import Part
from indexer.medium import Medium
from indexer.progress import Advance
from indexer.workers import Limit, decoding
from retrieval.catalog_writer import FailureRow
from retrieval.encoders.base import Encoder
from retrieval.errors import MediaError
from retrieval.features import FeatureStore
from retrieval.opening import TIME_LIMIT
from retrieval.types import Modality

LIMITS = {
    Modality.TEXT: Limit(60, 2**29),
    Modality.IMAGE: Limit(60, 2**29),
    Modality.AUDIO: Limit(TIME_LIMIT + 30, 3 * 2**29),  # an hour of sound
    Modality.VIDEO: Limit(TIME_LIMIT + 30, 2**29),
}
"""What a file may take a worker, by modality; sounds and videos end by themselves before that time."""

Work = TypeVar("Work")
Result = TypeVar("Result")


def content_of_text(text: str) -> str:
    """The SHA-256 of a caption, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def ahead(
    function: Callable[[Work], Result], works: Iterable[Work], *, workers: int, depth: int
) -> Iterator[tuple[Work, Result | MediaError]]:
    """``function`` of each work, in order, at most ``depth`` of them started and not yet taken.

    A ``MediaError`` is handed on in the place of the result; anything else is raised here.
    """
    waiting = iter(works)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="xmodal")
    started: deque[tuple[Work, Future[Result]]] = deque()
    try:
        started.extend((work, pool.submit(function, work)) for work in islice(waiting, depth))
        while started:
            work, future = started.popleft()
            try:
                outcome: Result | MediaError = future.result()
            except MediaError as error:
                outcome = error
            started.extend((more, pool.submit(function, more)) for more in islice(waiting, 1))
            yield work, outcome
    finally:
        # Not waited for: when a job is interrupted, what still runs may be a file that takes a minute.
        pool.shutdown(wait=False, cancel_futures=True)


def contents(parts: Iterable[Part], *, workers: int) -> Iterator[tuple[Part, str | MediaError]]:
    """The content of each file, or why it cannot be read."""
    return ahead(content, parts, workers=workers, depth=4 * workers)


def encode(
    encoder: Encoder,
    wanted: Mapping[str, Part],
    store: FeatureStore,
    *,
    workers: int,
    batch_size: int,
    trusted: bool,
    advance: Advance,
    fail: Callable[[str, MediaError], None],
) -> int:
    """Encode ``wanted``, a part by its content, into ``store``; files, unless trusted, in other processes.

    Every batch is stored as soon as it is encoded, so that a job that is cut short goes on behind it. ``fail``
    is told each content that cannot be decoded, and why.

    Returns:
        How many contents were encoded.
    """
    names: list[str] = []
    media: list[Any] = []

    def flush() -> int:
        if not names:
            return 0
        store.append(names, [encoder.spans(each) for each in media], encoder.encode(media))
        count = len(names)
        advance(count)
        names.clear()
        media.clear()
        return count

    with decoding(encoder.prepare, LIMITS[encoder.spec.modality], trusted=trusted) as decode:

        def prepare(work: tuple[str, Part]) -> Any:
            part = work[1]
            if part.file is None:
                return encoder.prepare(part.text if part.vector is None else part.vector)
            return decode(_medium(part, part.file))

        encoded = 0
        depth = batch_size + 2 * workers
        for (content, _), outcome in ahead(prepare, wanted.items(), workers=workers, depth=depth):
            if isinstance(outcome, MediaError):
                fail(content, outcome)
                advance(1)
                continue
            names.append(content)
            media.append(outcome)
            if len(names) == batch_size:
                encoded += flush()
    return encoded + flush()


def problem(part: Part, stage: str, error: MediaError) -> FailureRow:
    """What is recorded of a part that failed."""
    where = part.path or (part.text or "")[:80]
    # File names in messages can hold what is no character, which SQLite and JSON do not take.
    reason = str(error).encode(errors="backslashreplace").decode()
    return FailureRow(where, stage, reason, part.source, str(part.modality), part.size, part.mtime_ns)


def content(part: Part) -> str:
    """The SHA-256 in hex of what a part's features are of: its vector, its text, or its file.

    Raises:
        MediaError: the file cannot be read, or changed since it was listed.
    """
    if part.vector is not None:
        return hashlib.sha256(np.ascontiguousarray(part.vector, dtype=np.float32).tobytes()).hexdigest()
    if part.file is None:
        return content_of_text(part.text or "")
    medium = _medium(part, part.file)
    found = medium.sha256()
    medium.check()
    return found


def _medium(part: Part, file: Path) -> Medium:
    return Medium(file.absolute(), part.size, part.mtime_ns, part.offset)
