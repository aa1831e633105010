"""Decoding and encoding: bounded look-ahead, batches, and failures that affect only their own file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from indexer.changes.content_hash import media_file
from indexer.decoding.look_ahead import ahead
from indexer.decoding.worker_pool import ResourceLimit, decoding
from indexer.progress import Advance
from indexer.sources.corpus import Part
from retrieval.encoders.base import Encoder
from retrieval.errors import MediaError
from retrieval.media.source import TIME_LIMIT
from retrieval.storage.feature_store import FeatureStore
from retrieval.types import Modality

LIMITS = {
    Modality.TEXT: ResourceLimit(60, 2**29),
    Modality.IMAGE: ResourceLimit(60, 2**29),
    Modality.AUDIO: ResourceLimit(TIME_LIMIT + 30, 3 * 2**29),  # one hour of sound
    Modality.VIDEO: ResourceLimit(TIME_LIMIT + 30, 2**29),
}
"""Limits for one file in a worker, by modality. Decoders of sounds and videos stop by themselves before that time."""


def encode(
    encoder: Encoder,
    missing: Mapping[str, Part],
    store: FeatureStore,
    *,
    workers: int,
    batch_size: int,
    trusted: bool,
    advance: Advance,
    fail: Callable[[str, MediaError], None],
) -> int:
    """Encode ``missing``, parts by content, into ``store``. Files are decoded in worker processes, unless trusted.

    Every batch is stored as soon as it is encoded, so that the next job continues after it if this one is interrupted.
    ``fail`` is called with each content that cannot be decoded, and the error.

    Returns:
        Number of contents that were encoded.
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
            return decode(media_file(part, part.file))

        encoded = 0
        depth = batch_size + 2 * workers
        for (content, _), outcome in ahead(prepare, missing.items(), workers=workers, depth=depth):
            if isinstance(outcome, MediaError):
                fail(content, outcome)
                advance(1)
                continue
            names.append(content)
            media.append(outcome)
            if len(names) == batch_size:
                encoded += flush()
    return encoded + flush()
