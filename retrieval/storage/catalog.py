"""The catalog: the items and assets that the vectors belong to, in SQLite, through SQLAlchemy."""

from __future__ import annotations

import json
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import URL, ColumnElement, Engine, bindparam, create_engine, event, func, select, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from retrieval import filters
from retrieval.errors import DamagedIndexError, IndexFormatError, UnknownItemError
from retrieval.storage.schema import (
    MIGRATIONS,
    Asset,
    Column,
    Failure,
    Item,
    StoredValueError,
    parse_integers,
    parse_modality,
)
from retrieval.types import ITEM, Integers, MetadataValue, Modality, Target

CACHE_KIB = 16_384
"""Page cache of a connection, in KiB. With SQLite's 2,000, ten hits of a large catalog take a third longer."""

VALUES_AT_ONCE = 500
"""Values bound in one statement; the limit of SQLite is 32,766."""

_REQUESTED = func.json_each(bindparam("numbers")).table_valued("value")

_RECORDS = (
    select(Asset.id, Item.key, Asset.modality, Asset.path, Asset.text, Asset.start, Asset.end, Item.details)
    .select_from(_REQUESTED)
    .join(Asset, Asset.id == _REQUESTED.c.value)
    .join(Item, Asset.item_id == Item.id)
)
"""One statement for any number of assets; each is found by its primary key."""

_MODALITIES = {str(modality): modality for modality in Modality}

_RECORDS_SQL = str(_RECORDS.compile(dialect=sqlite.dialect()))


_ASSETS = Asset.__table__.alias()

_FILES = filters.Files(
    {
        "path": _ASSETS.c.path,
        "modality": _ASSETS.c.modality,
        "modified": func.strftime("%Y-%m-%d %H:%M:%S", _ASSETS.c.mtime_ns // 10**9, "unixepoch"),
    },
    lambda condition: (
        select(_ASSETS.c.id).where(_ASSETS.c.item_id == Item.__table__.c.id, condition).exists()
    ),
)


class Record(NamedTuple):
    """What the catalog knows of one asset; the fields after ``id`` are in the order of a ``Hit``."""

    id: int
    item: str
    modality: Modality
    path: str | None
    text: str | None
    start: float | None
    end: float | None
    metadata: Mapping[str, MetadataValue]


class StoredAsset(NamedTuple):
    """The origin of an asset, and the position of its stored features."""

    item: str
    content: str
    feature: int
    source: int | None
    path: str | None
    text: str | None


@dataclass(frozen=True, slots=True)
class AssetTable:
    """All assets of one modality in the order of their vectors: by item id, position in the item, and start.

    Attributes:
        assets: (n,) int64 asset numbers.
        media: (n,) int64: for a segment the asset number of its whole medium, else the asset's own number.
        items: (n,) int64 item numbers.
        features: (n,) int64 rows in the encoder's feature store.
        held_out: (n,) bool: whether the item is held out.
    """

    assets: Integers
    media: Integers
    items: Integers
    features: Integers
    held_out: NDArray[np.bool_]

    @property
    def whole(self) -> NDArray[np.bool_]:
        """(n,) bool: True for whole media, False for segments."""
        return np.equal(self.media, self.assets)


class Catalog:
    """The catalog file of one generation.

    A published file is opened read-only and never changes, so any number of threads may read it. It is not
    memory-mapped, although that would be a little faster: if a mapped file is truncated, a signal kills the process;
    reading a truncated file raises ``DamagedIndexError``.
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        """Open ``path``; if ``writable``, create it if missing, and apply missing migrations.

        Raises:
            DamagedIndexError: the file is missing, or is not a catalog.
            IndexFormatError: it was written by a newer version, or by an older one and is not writable.
        """
        if not writable and not path.is_file():
            raise DamagedIndexError(f"the catalog {path} is missing: restore or rebuild the index")
        self.path = path
        self.writable = writable
        self._idle: deque[sqlite3.Connection] = deque()
        self._closed = False
        self.engine: Engine = create_engine(_url(path, writable))
        if writable:
            event.listen(self.engine, "connect", _enforce_foreign_keys)
        try:
            self._migrate(writable)
        except DatabaseError as error:
            self.close()
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> DamagedIndexError:
        reason = str(getattr(error, "orig", error))
        return DamagedIndexError(
            f"the catalog {self.path} cannot be read ({reason}): run 'xmodal verify' on the index"
        )

    def close(self) -> None:
        """Release the file at once; if a thread is still reading, when that is done."""
        self._closed = True
        self._close_idle()
        self.engine.dispose()

    def _close_idle(self) -> None:
        with suppress(IndexError):  # checking first is not enough: another thread may take the last one
            while True:
                self._idle.pop().close()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a transaction that is committed at the end, or rolled back on an error.

        Errors of the calling code pass through unchanged.

        Raises:
            DamagedIndexError: the content of a published catalog cannot be read.
        """
        try:
            with Session(self.engine) as session, session.begin():
                yield session
        except (DatabaseError, StoredValueError) as error:
            if self.writable:
                raise
            raise self._unreadable(error) from error

    def _migrate(self, writable: bool) -> None:
        with self.engine.connect() as connection:
            known = connection.execute(
                text("SELECT count(*) FROM sqlite_master WHERE name = 'migrations'")
            ).scalar_one()
            applied = (
                set(connection.execute(text("SELECT name FROM migrations")).scalars())
                if known
                else set[str]()
            )
        if newer := applied - MIGRATIONS.keys():
            raise IndexFormatError(
                f"the catalog {self.path} has changes that this version does not know "
                f"({', '.join(sorted(newer))}): upgrade xmodal"
            )
        missing = [name for name in MIGRATIONS if name not in applied]
        if missing and not writable:
            raise IndexFormatError(
                f"the catalog {self.path} was written by an older version: run 'xmodal index' on it again"
            )
        for name in missing:
            with self.engine.begin() as connection:
                connection.execute(
                    text("CREATE TABLE IF NOT EXISTS migrations (name VARCHAR NOT NULL PRIMARY KEY)")
                )
                MIGRATIONS[name](connection)
                connection.execute(text("INSERT INTO migrations VALUES (:name)"), {"name": name})

    # Reading

    def counts(self) -> dict[str, int]:
        """Return the numbers of items, of failures, and of assets under each modality's name."""
        with self.session() as session:
            assets = session.execute(select(Asset.modality, func.count()).group_by(Asset.modality)).all()
            return {
                "items": session.scalar(select(func.count()).select_from(Item)) or 0,
                "failures": session.scalar(select(func.count()).select_from(Failure)) or 0,
                **dict(sorted((str(modality), int(count)) for modality, count in assets)),
            }

    def columns(self) -> dict[str, str]:
        """Return the kind of each metadata column, for ``filters.condition``."""
        with self.session() as session:
            return {
                column.name: column.kind for column in session.scalars(select(Column).order_by(Column.name))
            }

    def metadata(self) -> dict[str, dict[str, MetadataValue]]:
        """Return the metadata of every item, by item id."""
        with self.session() as session:
            return dict(session.execute(select(Item.key, Item.details)).all())

    def records(self, assets: Iterable[int]) -> dict[int, Record]:
        """Return the records of the assets with these numbers.

        Raises:
            DamagedIndexError: an asset is not in the catalog.
        """
        requested = {int(number) for number in assets}
        try:
            rows = self._rows(_RECORDS_SQL, str(sorted(requested)))
            # Parsing one joined text takes a third of the time of parsing each by itself.
            details = json.loads(f"[{','.join([row[-1] for row in rows])}]")
            records = {
                number: Record(number, item, _MODALITIES[modality], path, caption, start, end, metadata)
                for (number, item, modality, path, caption, start, end, _), metadata in zip(
                    rows, details, strict=True
                )
            }
        except (sqlite3.DatabaseError, ValueError, KeyError, TypeError) as error:
            raise self._unreadable(error) from error
        if len(records) < len(requested):
            raise self._unreadable(
                LookupError(f"{len(requested) - len(records)} assets that have vectors are not in it")
            )
        return records

    def item_ids(self) -> dict[int, str]:
        """Return the id of every item, by item number."""
        with self.session() as session:
            return dict(session.execute(select(Item.id, Item.key)).all())

    def ordered_items(self) -> Integers:
        """Return (n,) int64 the numbers of all items, in the order of their ids."""
        with self.session() as session:
            return np.fromiter(session.scalars(select(Item.id).order_by(Item.key)), dtype=np.int64)

    def _rows(self, statement: str, *values: str) -> list[Any]:
        """Fetch rows without SQLAlchemy: its handling of ten rows takes longer than the query."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            self._idle.append(connection)
            if self._closed:
                self._close_idle()

    def _connect(self) -> sqlite3.Connection:
        pooled = self.engine.raw_connection()
        connection = cast(sqlite3.Connection, pooled.driver_connection)
        pooled.detach()  # or the size limit of the pool would apply
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        return connection

    def table(self, modality: Modality) -> AssetTable:
        """Return all assets of ``modality`` in the order of their vectors."""
        statement = (
            select(Asset.id, Asset.ordinal, Asset.item_id, Asset.feature, Item.held_out)
            .join(Item, Asset.item_id == Item.id)
            .where(Asset.modality == str(modality))
            .order_by(Item.key, Asset.ordinal, Asset.start, Asset.id)
        )
        with self.session() as session:
            rows = parse_integers([tuple(row) for row in session.execute(statement)]).reshape(-1, 5)
        assets, ordinals, items, features, held_out = rows.T
        starts = np.append(True, (np.diff(items) != 0) | (np.diff(ordinals) != 0))[: len(rows)]
        media = assets[np.flatnonzero(starts)][np.cumsum(starts) - 1]
        return AssetTable(assets, media, items, features, held_out.astype(bool))

    def stored(self, modality: Modality) -> list[StoredAsset]:
        """Return all assets of ``modality``, including segments, by feature row."""
        statement = (
            select(Item.key, Asset.content, Asset.feature, Asset.source, Asset.path, Asset.text)
            .join(Item, Asset.item_id == Item.id)
            .where(Asset.modality == str(modality))
            .order_by(Asset.feature, Asset.id)
        )
        with self.session() as session:
            return [StoredAsset(*row) for row in session.execute(statement)]

    def item_assets(self, key: str) -> dict[Modality, list[int]]:
        """Return the asset numbers of the item with id ``key``, by modality.

        Raises:
            UnknownItemError: there is no such item.
        """
        with self.session() as session:
            item = session.scalar(select(Item.id).where(Item.key == key))
            if item is None:
                raise UnknownItemError(
                    f"the index has no item {key!r}: ids are paths without the ending, as shown with hits"
                )
            numbers: dict[Modality, list[int]] = {}
            for number, modality in session.execute(
                select(Asset.id, Asset.modality).where(Asset.item_id == item)
            ):
                numbers.setdefault(parse_modality(modality), []).append(number)
            return numbers

    def asset(self, number: int) -> Asset | None:
        """Return the row of the asset with this number, with its source and path; None if there is no such asset."""
        if not 0 <= number < 2**63:  # the range of SQLite
            return None
        with self.session() as session:
            asset = session.get(Asset, number)
            session.expunge_all()
            return asset

    def matching(self, where: str, target: Target) -> Integers:
        """Return (n,) int64 numbers, ascending, of the assets of a modality whose item satisfies the filter ``where``.

        If ``target`` is whole items: of all their assets, because any of them may identify the item.

        Raises:
            ExpressionError: the expression does not parse, or names an unknown column.
        """
        # Fetched as one joined text, which takes a third of the time of fetching as many rows.
        statement = (
            select(func.group_concat(Asset.id))
            .join(Item, Asset.item_id == Item.id)
            .where(self.condition(where))
        )
        if target != ITEM:
            statement = statement.where(Asset.modality == str(target))
        with self.session() as session:
            numbers = session.scalar(statement)
        return np.sort(np.fromstring(numbers, np.int64, sep=",")) if numbers else np.empty(0, np.int64)

    def condition(self, where: str) -> ColumnElement[bool]:
        """Return the filter ``where`` as an SQL condition on ``Item``.

        Besides metadata it may use ``path`` (relative to the source), ``modality`` and ``modified`` (UTC, such as
        2024-05-31 17:04:59). An item satisfies these if at least one of its assets does.
        """
        return filters.condition(filters.parse(where), Item.__table__.c.metadata, self.columns(), _FILES)

    def labels(self, column: str) -> dict[int, MetadataValue]:
        """Return the values of metadata column ``column`` by item number, of items that have one.

        Raises:
            ExpressionError: there is no such column.
        """
        filters.check_column(column, self.columns())
        with self.session() as session:
            rows = session.execute(select(Item.id, Item.details))
            return {number: details[column] for number, details in rows if details.get(column) is not None}

    def failures(self) -> list[Failure]:
        """Return everything that could not be indexed, in the order of occurrence."""
        with self.session() as session:
            failures = list(session.scalars(select(Failure).order_by(Failure.id)))
            session.expunge_all()
            return failures


def _url(path: Path, writable: bool) -> URL:
    # immutable: a published catalog never changes, so SQLite needs no locks and no writable folder.
    options = {"mode": "rwc"} if writable else {"mode": "ro", "immutable": "1"}
    return URL.create(
        "sqlite", database=f"file:{quote(str(path.resolve()))}", query={**options, "uri": "true"}
    )


def _enforce_foreign_keys(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
