"""Features of a corpus: new contents are encoded and stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from indexer.changes import content_hash, plan
from indexer.changes.corpus_hashes import FileContents
from indexer.encoding import encode
from indexer.progress import Progress
from indexer.sources.corpus import Part
from retrieval.encoders.base import Encoder
from retrieval.errors import MediaError, NoSoundError, UnreadableError
from retrieval.storage.catalog_writer import AssetRow, FailureRow
from retrieval.storage.feature_store import FeatureStore
from retrieval.types import Modality

BATCH_SHARES = {Modality.VIDEO: 1 / 8, Modality.TEXT: 16.0}
"""Batch size of a modality relative to that of pictures. One video needs as much memory and time as 8 pictures, and
16 captions as little as one picture. A large batch of captions also has more captions of similar length."""


@dataclass(slots=True)
class CorpusFeatures:
    """Features of a corpus, and where they are stored.

    Attributes:
        stores: feature store of each modality.
        reading: content hashes of the corpus.
        stored: rows of each content in the feature store, by modality.
        encoded: number of contents encoded by this job.
        problems: failures of reading and decoding.
    """

    stores: Mapping[Modality, FeatureStore]
    reading: FileContents
    stored: dict[Modality, dict[str, range]]
    encoded: int = 0
    problems: list[FailureRow] = field(default_factory=list)

    def assets(self, part: Part, ordinal: int) -> list[AssetRow]:
        """Return the catalog's rows of ``part``: one for the whole and one per segment; none if it has no features."""
        content = self.reading.content(part)
        rows = self.stored[part.modality].get(content) if content else None
        if content is None or rows is None:
            return []
        spans = self.stores[part.modality].spans(rows)
        return [
            AssetRow(
                modality=part.modality,
                ordinal=ordinal,
                content=content,
                feature=row,
                source=part.source,
                path=part.path,
                text=part.text,
                size=part.size,
                mtime_ns=part.mtime_ns,
                start=span.start,
                end=span.end,
                windows=span.windows,
            )
            for row, span in zip(rows, spans, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class CorpusEncoder:
    """Encodes the new contents of a corpus.

    Attributes:
        encoders: encoders by modality.
        stores: feature store of each encoder.
        workers: number of files read and decoded at once.
        batch_size: number of pictures encoded at once; other modalities by ``BATCH_SHARES``.
        progress: receives the progress of each stage.
        note: called with the files that cannot be decoded.
        trusted: whether to decode in this process.
    """

    encoders: Mapping[Modality, Encoder]
    stores: Mapping[Modality, FeatureStore]
    workers: int
    batch_size: int
    progress: Progress
    note: Callable[[Iterable[FailureRow]], None]
    trusted: bool = False

    def run(self, parts: Sequence[Part], reading: FileContents) -> CorpusFeatures:
        """Encode every part that can be encoded and has no features yet."""
        stored = {modality: store.contents() for modality, store in self.stores.items()}
        done = CorpusFeatures(
            self.stores, reading, stored, problems=[*reading.failed.values(), *reading.unreadable]
        )
        named = reading.named(parts)
        for modality, missing in plan.encodings(named, done.stored).items():
            self._encode(modality, missing, named, done)
        return done

    def _encode(
        self,
        modality: Modality,
        missing: Mapping[str, Part],
        named: Sequence[tuple[Part, str]],
        done: CorpusFeatures,
    ) -> None:
        holders: dict[str, list[Part]] = {}
        for part, content in named:
            if part.modality is modality:
                holders.setdefault(content, []).append(part)

        def fail(content: str, error: MediaError) -> None:
            stage = "read" if isinstance(error, UnreadableError) else "decode"
            problems = [
                content_hash.problem(part, stage, error)
                for part in holders[content]
                if not (part.is_track and isinstance(error, NoSoundError))
            ]
            self.note(problems)
            done.problems += problems

        if missing:
            self.stores[modality].add_numerics(self.encoders[modality].numerics)
        with self.progress(f"encoding {modality}", len(missing)) as advance:
            done.encoded += encode.encode(
                self.encoders[modality],
                missing,
                self.stores[modality],
                workers=self.workers,
                batch_size=max(1, round(self.batch_size * BATCH_SHARES.get(modality, 1))),
                trusted=self.trusted,
                advance=advance,
                fail=fail,
            )
        done.stored[modality] = self.stores[modality].contents()
