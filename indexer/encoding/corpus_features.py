"""From the contents of a corpus to stored features: what is new is encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from indexer.changes import content_hash, plan
from indexer.changes.reading import FileContents
from indexer.encoding import encode
from indexer.progress import Progress
from indexer.sources.corpus import Part
from retrieval.encoders.base import Encoder
from retrieval.errors import MediaError, NoSoundError, UnreadableError
from retrieval.storage.catalog_writer import AssetRow, FailureRow
from retrieval.storage.feature_store import FeatureStore
from retrieval.types import Modality

SHARES = {Modality.VIDEO: 1 / 8, Modality.TEXT: 16.0}
"""Media in a batch beside pictures: a video is as much to hold and encode as 8 of them, 16 captions as little as one,
and of many there are more of similar length."""


@dataclass(slots=True)
class CorpusFeatures:
    """Where the features of a corpus are.

    Attributes:
        stores: of each modality's features.
        reading: the contents of the corpus.
        stored: by modality, the rows of each content in the feature store.
        encoded: how many contents were encoded just now.
        problems: what could not be read or decoded.
    """

    stores: Mapping[Modality, FeatureStore]
    reading: FileContents
    stored: dict[Modality, dict[str, range]]
    encoded: int = 0
    problems: list[FailureRow] = field(default_factory=list)

    def assets(self, part: Part, ordinal: int) -> list[AssetRow]:
        """The catalog's rows of ``part``: one for the whole and one a segment; none if it has no features."""
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
    """How to encode.

    Attributes:
        encoders: by modality.
        stores: of each encoder's features.
        workers: threads that read and decode.
        batch_size: media encoded at once.
        progress: is told how each stage gets on.
        note: is told what cannot be decoded.
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
        """See that every part that can be encoded is."""
        stored = {modality: store.contents() for modality, store in self.stores.items()}
        done = CorpusFeatures(
            self.stores, reading, stored, problems=[*reading.failed.values(), *reading.unreadable]
        )
        named = reading.named(parts)
        for modality, wanted in plan.encodings(named, done.stored).items():
            self._encode(modality, wanted, named, done)
        return done

    def _encode(
        self,
        modality: Modality,
        wanted: Mapping[str, Part],
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

        if wanted:
            self.stores[modality].add_numerics(self.encoders[modality].numerics)
        with self.progress(f"encoding {modality}", len(wanted)) as advance:
            done.encoded += encode.encode(
                self.encoders[modality],
                wanted,
                self.stores[modality],
                workers=self.workers,
                batch_size=max(1, round(self.batch_size * SHARES.get(modality, 1))),
                trusted=self.trusted,
                advance=advance,
                fail=fail,
            )
        done.stored[modality] = self.stores[modality].contents()
