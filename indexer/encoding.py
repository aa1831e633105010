"""From the parts of a corpus to stored features: read what changed, encode what is new."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from indexer import embed, plan
from indexer.corpus import Part
from indexer.plan import Place, Seen
from indexer.progress import Progress
from retrieval.catalog import Catalog
from retrieval.catalog_writer import AssetRow, FailureRow
from retrieval.encoders.base import Encoder
from retrieval.errors import NoSoundError
from retrieval.features import FeatureStore
from retrieval.schema import Asset
from retrieval.types import Modality

SHARES = {Modality.VIDEO: 1 / 8, Modality.TEXT: 16.0}
"""Media in a batch beside pictures: a video is as much to hold and encode as 8 of them, 16 captions as little as one,
and of many there are more of similar length."""


@dataclass(slots=True)
class Encoded:
    """Where the features of a corpus are.

    Attributes:
        stores: of each modality's features.
        contents: the content of each file, by its place.
        stored: by modality, the rows of each content in the feature store.
        encoded: how many contents were encoded just now.
        problems: what could not be read or decoded.
    """

    stores: Mapping[Modality, FeatureStore]
    contents: dict[Place, str] = field(default_factory=dict)
    stored: dict[Modality, dict[str, range]] = field(default_factory=dict)
    encoded: int = 0
    problems: list[FailureRow] = field(default_factory=list)

    def content(self, part: Part) -> str | None:
        """The SHA-256 of ``part``; None for a file that could not be read."""
        if part.file is None:
            return embed.content(part)
        return self.contents.get(plan.place(part))

    def assets(self, part: Part, ordinal: int) -> list[AssetRow]:
        """The catalog's rows of ``part``: one for the whole and one a segment; none if it has no features."""
        content = self.content(part)
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
class Encoding:
    """How to encode.

    Attributes:
        encoders: by modality.
        stores: of each encoder's features.
        workers: threads that read and decode.
        batch_size: media encoded at once.
        progress: is told how each stage gets on.
    """

    encoders: Mapping[Modality, Encoder]
    stores: Mapping[Modality, FeatureStore]
    workers: int
    batch_size: int
    progress: Progress

    def run(self, parts: Sequence[Part], seen: Mapping[Place, Seen], *, retry_failed: bool) -> Encoded:
        """See that every part that can be encoded is."""
        todo = plan.files(parts, seen, retry_failed=retry_failed)
        done = Encoded(self.stores, contents=todo.contents, problems=list(todo.failed.values()))
        with self.progress("reading", len(todo.read)) as advance:
            found, unreadable = embed.contents(todo.read, workers=self.workers, advance=advance)
        done.contents |= {plan.place(part): content for part, content in found}
        done.problems += unreadable
        done.stored = {modality: store.contents() for modality, store in self.stores.items()}
        failed = set(todo.failed)
        named = [
            (part, content)
            for part in parts
            if (content := done.content(part)) is not None and plan.place(part) not in failed
        ]
        for modality, wanted in plan.encodings(named, done.stored).items():
            self._encode(modality, wanted, named, done)
        return done

    def _encode(
        self, modality: Modality, wanted: Mapping[str, Part], named: Sequence[tuple[Part, str]], done: Encoded
    ) -> None:
        if wanted:
            self.stores[modality].note(self.encoders[modality].numerics)
        with self.progress(f"encoding {modality}", len(wanted)) as advance:
            errors = embed.encode(
                self.encoders[modality],
                wanted,
                self.stores[modality],
                workers=self.workers,
                batch_size=max(1, round(self.batch_size * SHARES.get(modality, 1))),
                advance=advance,
            )
        done.stored[modality] = self.stores[modality].contents()
        done.encoded += len(wanted) - len(errors)
        done.problems += [
            embed.problem(part, "decode", errors[content])
            for part, content in named
            if part.modality is modality
            and content in errors
            and not (part.is_track and isinstance(errors[content], NoSoundError))
        ]


def seen(catalog: Catalog, sources: Container[int | None]) -> dict[Place, Seen]:
    """The files of these sources, by position, that the catalog knows, those that failed among them."""
    files: dict[Place, Seen] = {}
    known = select(Asset.modality, Asset.source, Asset.path, Asset.size, Asset.mtime_ns, Asset.content)
    with catalog.session() as session:
        for modality, source, path, size, mtime_ns, content in session.execute(
            known.where(Asset.modality != str(Modality.TEXT), Asset.start.is_(None))
        ):
            if source in sources:
                files[modality, source, path] = Seen(size, mtime_ns, content)
    for failure in catalog.failures():
        if failure.stage == "decode" and failure.source in sources:
            row = FailureRow(**{name: getattr(failure, name) for name in FailureRow.__slots__})
            files[row.modality, row.source, row.path] = Seen(row.size, row.mtime_ns, failure=row)
    return files
