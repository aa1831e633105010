"""Corpus: the items of all sources, before anything is decoded."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from indexer.sources.adapters import registry as adapters
from indexer.sources.adapters.base import Extent, Vector
from indexer.sources.readers import captions, folders, tables
from retrieval.errors import SourceError
from retrieval.formatting import reason
from retrieval.media.formats import modality_of
from retrieval.storage.catalog_writer import FailureRow
from retrieval.types import Matrix, MetadataValue, Modality


@dataclass(frozen=True, slots=True)
class Part:
    """One asset of an item, as its source has it: a file, or the text of a caption.

    Attributes:
        modality: modality of the asset.
        source: position of its source among the job's sources.
        path: path relative to the source, with ``/``; for a caption its caption file, None if from a manifest.
        file: path to read now; None for a caption.
        text: the caption; None for a file.
        size: size of the file in bytes.
        mtime_ns: modification time of the file.
        offset: byte offset in ``file``, if that is an archive.
        vector: (d,) float32 features, if the source provides them; then there is no file.
        is_track: whether it is the sound track of ``file``, a video that may have none.
    """

    modality: Modality
    source: int
    path: str | None
    file: Path | None = None
    text: str | None = None
    size: int | None = None
    mtime_ns: int | None = None
    offset: int | None = None
    vector: Matrix | None = field(default=None, compare=False)
    is_track: bool = False


@dataclass(slots=True)
class SourceItem:
    """One item, with its parts and metadata from all sources."""

    key: str
    parts: list[Part] = field(default_factory=list)
    metadata: dict[str, MetadataValue] = field(default_factory=dict)


@dataclass(slots=True)
class Corpus:
    """Content of all sources.

    Attributes:
        items: items by id.
        columns: kind of each metadata column.
        problems: files and captions that cannot be indexed.
        encoders: encoders that a data set needs, by modality.
        align: alignment that a data set needs.
        holdout: standard test split of a data set, as an expression.
    """

    items: dict[str, SourceItem] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    problems: list[FailureRow] = field(default_factory=list)
    encoders: dict[Modality, str] = field(default_factory=dict)
    align: str | None = None
    holdout: str | None = None

    def add(self, key: str, part: Part) -> None:
        """Add a part to item ``key``, unless the item has it already.

        An item has any number of captions and at most one file of each other modality; a second file is a problem.
        """
        item = self.items.setdefault(key, SourceItem(key))
        others = [other for other in item.parts if other.modality is part.modality]
        if part.modality is Modality.TEXT:
            if all(other.text != part.text for other in others):
                item.parts.append(part)
        elif others:
            self._record_conflict(key, part, others[0])
        else:
            item.parts.append(part)

    def leave_out(self, encoders: Container[Modality]) -> dict[str, int]:
        """Remove parts without an encoder, and items that have no other parts.

        Returns:
            Number of removed parts, by modality.

        Raises:
            SourceError: nothing is left.
        """
        skipped = Counter[str]()
        for key, item in list(self.items.items()):
            dropped = [part for part in item.parts if part.modality not in encoders]
            skipped.update(str(part.modality) for part in dropped if not part.is_track)
            item.parts = [part for part in item.parts if part.modality in encoders]
            if not item.parts:
                del self.items[key]
        if not self.items and not self.problems:
            raise SourceError(
                f"the sources hold only {', '.join(skipped)}, and the index has no encoder for that: "
                "name an encoder for this modality"
            )
        return dict(skipped)

    def _record_conflict(self, key: str, part: Part, other: Part) -> None:
        if (part.source, part.path, part.file) == (other.source, other.path, other.file):
            return
        reason = f"item {key!r} has the {part.modality} {other.path} already and takes one: give this file another name"
        self.problems.append(FailureRow(part.path or key, "corpus", reason, part.source))

    def assets(self) -> Iterator[tuple[SourceItem, Part]]:
        """Yield every part with its item."""
        for item in self.items.values():
            for part in item.parts:
                yield item, part


def read(sources: Sequence[str | os.PathLike[str]], *, leave_out: Path) -> Corpus:
    """Read the sources.

    Args:
        sources: folders, manifests (.csv, .tsv, .jsonl, .parquet), and data sets as ``FORMAT:PATH``.
        leave_out: a folder to skip: the index folder.

    Raises:
        SourceError: a source is missing or of an unknown kind, a manifest is malformed, or there is nothing to index.
    """
    corpus = Corpus()
    rows: list[Mapping[str, object]] = []
    for number, source in enumerate(sources):
        path = Path(source)
        if adapted := adapters.split(source):
            rows += _read_dataset(corpus, number, *adapted)
        elif path.is_dir():
            _read_folder(corpus, number, path, leave_out.resolve())
        elif path.is_file():
            rows += _read_manifest(corpus, number, path)
        else:
            raise SourceError(
                f"the source {str(source)!r} does not exist: expected a folder, a manifest, "
                f"or one of {', '.join(adapters.ADAPTERS)} before a colon and a path"
            )
    _read_metadata(corpus, rows)
    _add_sound_tracks(corpus)
    if not corpus.items and not corpus.problems:
        names = ", ".join(repr(str(source)) for source in sources) or "nothing"
        raise SourceError(
            f"there is nothing to index in {names}: expected pictures, captions, sounds or videos"
        )
    return corpus


def _read_folder(corpus: Corpus, number: int, root: Path, leave_out: Path) -> None:
    for entry in folders.walk(root, leave_out=leave_out):
        modality = modality_of(entry.name)
        if entry.problem and (modality or entry.is_folder):
            corpus.problems.append(FailureRow(entry.name, "corpus", entry.problem, number))
        if modality is None or entry.problem:
            continue
        try:
            status = _regular(entry.file)
        except SourceError as error:
            corpus.problems.append(FailureRow(entry.name, "corpus", str(error), number))
            continue
        key = os.path.splitext(entry.name)[0]  # noqa: PTH122 - PurePath.stem drops the folder
        part = Part(
            modality=modality,
            source=number,
            path=entry.name,
            file=entry.file,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
        )
        if modality is Modality.TEXT:
            _add_captions(corpus, key, part, entry.file)
        else:
            corpus.add(key, part)


def _add_sound_tracks(corpus: Corpus) -> None:
    """Add the sound track of a video as its item's sound, if the item has no sound file."""
    for item in corpus.items.values():
        by_modality = {part.modality: part for part in item.parts}
        video = by_modality.get(Modality.VIDEO)
        if video is not None and video.file is not None and Modality.AUDIO not in by_modality:
            item.parts.append(replace(video, modality=Modality.AUDIO, is_track=True))


def _add_captions(corpus: Corpus, key: str, part: Part, path: Path) -> None:
    try:
        texts = captions.read(path)
    except SourceError as error:
        corpus.problems.append(FailureRow(part.path or key, "corpus", str(error), part.source))
        return
    for caption in texts:
        corpus.add(key, replace(part, file=None, text=caption))


def _read_manifest(corpus: Corpus, number: int, path: Path) -> Iterable[Mapping[str, object]]:
    rows = tables.read(path)
    _add_rows(corpus, number, path.parent, rows)
    return rows


def _read_dataset(corpus: Corpus, number: int, name: str, path: Path) -> Iterable[Mapping[str, object]]:
    """Read a data set by its adapter, with its split, encoders and alignment."""
    dataset = adapters.read(name, path)
    _add_rows(corpus, number, dataset.folder, dataset.rows)
    corpus.problems += [FailureRow(name, "corpus", reason, number) for name, reason in dataset.problems]
    corpus.encoders |= dataset.encoders
    corpus.align = corpus.align or dataset.align
    if any("split" in row for row in dataset.rows):
        corpus.holdout = corpus.holdout or adapters.ADAPTERS[name].holdout
    return dataset.rows


def _add_rows(corpus: Corpus, number: int, folder: Path, rows: Iterable[Mapping[str, object]]) -> None:
    for row in rows:
        key = str(row["id"])
        for modality in (Modality.IMAGE, Modality.AUDIO, Modality.VIDEO):
            cell = row.get(modality)
            if isinstance(cell, Vector):
                corpus.add(key, Part(modality, number, cell.path, vector=cell.row))
            elif cell:
                _add_file(corpus, number, key, modality, folder, cell)
        caption = row.get("caption")
        if isinstance(caption, Vector):
            corpus.add(key, Part(Modality.TEXT, number, None, text=caption.text, vector=caption.row))
            continue
        for text in tables.captions(caption):
            corpus.add(key, Part(Modality.TEXT, number, None, text=text))


def _add_file(corpus: Corpus, number: int, key: str, modality: Modality, folder: Path, cell: object) -> None:
    if isinstance(cell, Extent):
        mtime_ns = cell.archive.stat().st_mtime_ns
        part = Part(
            modality=modality,
            source=number,
            path=cell.name,
            file=cell.archive,
            size=cell.size,
            mtime_ns=mtime_ns,
            offset=cell.offset,
        )
        corpus.add(key, part)
        return
    name = str(cell)
    file = folder / name
    try:
        status = _regular(file)
    except SourceError as error:
        corpus.problems.append(FailureRow(name, "corpus", str(error), number))
        return
    path = Path(name).as_posix()
    part = Part(modality, number, path, file, size=status.st_size, mtime_ns=status.st_mtime_ns)
    corpus.add(key, part)


def _regular(path: Path) -> os.stat_result:
    """Return the status of a regular file; pipes and devices are refused, since reading them may never end."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot be read: {reason(error)}") from error
    if not stat.S_ISREG(status.st_mode):
        raise SourceError("is a folder, a pipe or a device: expected a file")
    return status


def _read_metadata(corpus: Corpus, rows: Sequence[Mapping[str, object]]) -> None:
    """Turn all other columns into metadata; of several rows with the same id, the first value counts."""
    values, corpus.columns = tables.metadata(rows)
    for key, metadata in values.items():
        if key in corpus.items:
            corpus.items[key].metadata.update(metadata)
