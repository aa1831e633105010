"""Tables of the catalog, and the migrations that update an older file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sqlalchemy import JSON, Connection, Dialect, Float, ForeignKey, Index, TypeDecorator, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from retrieval.types import Integers, Modality


class StoredValueError(ValueError):
    """A value stored in the catalog cannot be parsed."""


class StoredJson(TypeDecorator[dict[str, Any]]):
    """JSON whose parse errors are raised as ``StoredValueError``.

    A dedicated error tells damage in the file apart from a ``ValueError`` of the calling code.
    """

    impl = JSON
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """Return the parser of stored values."""
        parse = super().result_processor(dialect, coltype)

        def checked(value: Any) -> Any:
            try:
                return parse(value) if parse else value
            except (ValueError, TypeError) as error:
                raise StoredValueError(str(error)) from error

        return checked


def parse_integers(rows: Sequence[Sequence[Any]]) -> Integers:
    """Return stored numbers as an int64 array.

    Raises:
        StoredValueError: one of them is not a number.
    """
    try:
        return np.array(rows, dtype=np.int64)
    except (ValueError, TypeError) as error:
        raise StoredValueError(str(error)) from error


def parse_modality(name: str) -> Modality:
    """Return the modality stored as ``name``.

    Raises:
        StoredValueError: there is no such modality.
    """
    try:
        return Modality(name)
    except ValueError as error:
        raise StoredValueError(str(error)) from error


class Base(DeclarativeBase):
    """Base class of the typed models."""

    type_annotation_map = {dict[str, Any]: StoredJson, float: Float}  # noqa: RUF012 - SQLAlchemy's own declaration


class Migration(Base):
    """A migration that has been applied to this file."""

    __tablename__ = "migrations"
    name: Mapped[str] = mapped_column(primary_key=True)


class Item(Base):
    """An item: one thing, made of assets, with one id."""

    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    """Public id of the item."""
    held_out: Mapped[bool]
    """True if the item is never used to fit or choose an alignment."""
    details: Mapped[dict[str, Any]] = mapped_column("metadata")


class Asset(Base):
    """One picture, caption, clip or segment, which has one vector."""

    __tablename__ = "assets"
    __table_args__ = (Index("assets_by_item", "item_id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"))
    modality: Mapped[str]
    ordinal: Mapped[int]
    """Position among the item's assets of this modality, from 0."""
    source: Mapped[int | None]
    path: Mapped[str | None]
    text: Mapped[str | None]
    size: Mapped[int | None]
    mtime_ns: Mapped[int | None]
    start: Mapped[float | None]
    end: Mapped[float | None]
    content: Mapped[str]
    """SHA-256 of the file or caption, in hex."""
    feature: Mapped[int]
    """Row in the feature store of the modality's encoder; equal contents share one row."""
    windows: Mapped[int | None]
    """Number of pieces that a text longer than its encoder's input was split into; the text's vector pools them."""


class Failure(Base):
    """A file or row of a source that could not be indexed, and the reason."""

    __tablename__ = "failures"
    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[int | None]
    path: Mapped[str]
    modality: Mapped[str | None]
    size: Mapped[int | None]
    mtime_ns: Mapped[int | None]
    stage: Mapped[str]
    reason: Mapped[str]
    time: Mapped[str]


class Column(Base):
    """A metadata column: its name and kind (text, integer, real or boolean)."""

    __tablename__ = "columns"
    name: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]


def _initial(connection: Connection) -> None:
    statements = """
    CREATE TABLE items (
        id INTEGER NOT NULL PRIMARY KEY, key VARCHAR NOT NULL UNIQUE, held_out BOOLEAN NOT NULL,
        metadata JSON NOT NULL);
    CREATE TABLE assets (
        id INTEGER NOT NULL PRIMARY KEY, item_id INTEGER NOT NULL REFERENCES items (id),
        modality VARCHAR NOT NULL, ordinal INTEGER NOT NULL, source INTEGER, path VARCHAR, text VARCHAR,
        size INTEGER, mtime_ns INTEGER, start FLOAT, "end" FLOAT, content VARCHAR NOT NULL,
        feature INTEGER NOT NULL);
    CREATE INDEX assets_by_item ON assets (item_id);
    CREATE TABLE failures (
        id INTEGER NOT NULL PRIMARY KEY, source INTEGER, path VARCHAR NOT NULL, modality VARCHAR,
        size INTEGER, mtime_ns INTEGER, stage VARCHAR NOT NULL, reason VARCHAR NOT NULL,
        time VARCHAR NOT NULL);
    CREATE TABLE columns (name VARCHAR NOT NULL PRIMARY KEY, kind VARCHAR NOT NULL)
    """
    for statement in statements.split(";"):
        connection.execute(text(statement))


def _windows(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE assets ADD COLUMN windows INTEGER"))


MIGRATIONS: dict[str, Callable[[Connection], None]] = {"0001-initial": _initial, "0002-windows": _windows}
"""All migrations by name, in the order in which they are applied."""
