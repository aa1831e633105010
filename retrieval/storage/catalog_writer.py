"""Writing a catalog: update it to a target state; items and assets that stay keep their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from retrieval.storage.catalog import VALUES_AT_ONCE, Catalog
from retrieval.storage.schema import Asset, Column, Failure, Item
from retrieval.types import MetadataValue, Modality


@dataclass(frozen=True, slots=True)
class AssetRow:
    """An asset row to write; the attributes are the columns of the table."""

    modality: Modality
    ordinal: int
    content: str
    feature: int
    source: int | None = None
    path: str | None = None
    text: str | None = None
    size: int | None = None
    mtime_ns: int | None = None
    start: float | None = None
    end: float | None = None
    windows: int | None = None


@dataclass(frozen=True, slots=True)
class ItemRow:
    """An item to write, with its assets."""

    key: str
    held_out: bool = False
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    assets: Sequence[AssetRow] = ()


@dataclass(frozen=True, slots=True)
class FailureRow:
    """A failure row to write."""

    path: str
    stage: str
    reason: str
    source: int | None = None
    modality: str | None = None
    size: int | None = None
    mtime_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """The changes made by a write.

    Attributes:
        changed: whether anything changed.
        removed: number of assets removed.
    """

    changed: bool
    removed: int


def write(
    catalog: Catalog, items: Iterable[ItemRow], failures: Sequence[FailureRow], columns: Mapping[str, str]
) -> Written:
    """Make ``catalog`` contain exactly these items, failures and columns, in one transaction."""
    with catalog.session() as session:
        items_by_key = {item.key: item for item in items}
        changed = _write_columns(session, columns)
        changed |= _write_failures(session, failures)
        numbers = dict(session.execute(select(Item.key, Item.id)).all())
        changed |= _write_items(session, items_by_key, numbers)
        numbers = dict(session.execute(select(Item.key, Item.id)).all())
        assets_changed, removed = _write_assets(session, items_by_key, numbers)
        gone = [number for key, number in numbers.items() if key not in items_by_key]
        _delete(session, Item, gone)
        return Written(changed or assets_changed or bool(gone), removed)


def hold_out(catalog: Catalog, keys: Set[str]) -> bool:
    """Hold out exactly the items with these ids; return whether that changed anything."""
    with catalog.session() as session:
        stored = session.execute(select(Item.id, Item.key, Item.held_out))
        altered = [
            {"id": number, "held_out": key in keys} for number, key, out in stored if out != (key in keys)
        ]
        if altered:
            session.execute(update(Item), altered)
        return bool(altered)


def _write_columns(session: Session, columns: Mapping[str, str]) -> bool:
    stored = {column.name: column.kind for column in session.scalars(select(Column))}
    if stored == dict(columns):
        return False
    session.execute(delete(Column))
    if columns:
        session.execute(insert(Column), [{"name": name, "kind": kind} for name, kind in columns.items()])
    return True


def _write_failures(session: Session, failures: Sequence[FailureRow]) -> bool:
    names = FailureRow.__slots__

    def values(row: FailureRow | Failure) -> tuple[Any, ...]:
        return tuple(getattr(row, name) for name in names)

    stored = {values(row): row.time for row in session.scalars(select(Failure))}
    rows = list(
        dict.fromkeys(map(values, failures))
    )  # two rows of a source manifest may name the same missing file
    if set(stored) == set(rows):
        return False
    now = datetime.now(UTC).isoformat(timespec="seconds")
    session.execute(delete(Failure))
    if failures:
        session.execute(
            insert(Failure),
            [{**dict(zip(names, row, strict=True)), "time": stored.get(row, now)} for row in rows],
        )
    return True


def _write_items(session: Session, items_by_key: Mapping[str, ItemRow], numbers: Mapping[str, int]) -> bool:
    stored = {
        number: (out, details)
        for number, out, details in session.execute(select(Item.id, Item.held_out, Item.details))
    }
    new, altered = [], []
    for key, item in items_by_key.items():
        values = {"held_out": item.held_out, "details": dict(item.metadata)}
        if key not in numbers:
            new.append({"key": key, **values})
        elif stored[numbers[key]] != (item.held_out, dict(item.metadata)):
            altered.append({"id": numbers[key], **values})
    if new:
        session.execute(insert(Item), new)
    if altered:
        session.execute(update(Item), altered)
    return bool(new or altered)


def _write_assets(
    session: Session, items_by_key: Mapping[str, ItemRow], numbers: Mapping[str, int]
) -> tuple[bool, int]:
    """Return whether any asset was added, changed or removed, and how many were removed."""
    stored: dict[tuple[Any, ...], dict[str, Any]] = {}
    names = [column.name for column in Asset.__table__.columns]
    for row in session.execute(select(*Asset.__table__.columns)):
        values = dict(zip(names, row, strict=True))
        stored[_identity(values)] = values
    new, altered = [], []
    for item in items_by_key.values():
        for asset in item.assets:
            values = {name: getattr(asset, name) for name in names if name not in ("id", "item_id")}
            values |= {"item_id": numbers[item.key], "modality": str(asset.modality)}
            before = stored.pop(_identity(values), None)
            if before is None:
                new.append(values)
            elif before != (after := {"id": before["id"], **values}):
                altered.append(after)
    gone = [values["id"] for values in stored.values()]
    _delete(session, Asset, gone)
    if altered:
        session.execute(update(Asset), altered)
    if new:
        session.execute(insert(Asset), new)
    return bool(new or altered or gone), len(gone)


def _identity(values: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what identifies an asset across updates: a file's path, a caption's text, a segment's start."""
    return tuple(values[name] for name in ("item_id", "modality", "path", "text", "start"))


def _delete(session: Session, model: type[Item] | type[Asset], numbers: Sequence[int]) -> None:
    for start in range(0, len(numbers), VALUES_AT_ONCE):
        session.execute(delete(model).where(model.id.in_(numbers[start : start + VALUES_AT_ONCE])))
