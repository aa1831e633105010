"""Descriptions of the index and its items, for the API."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from retrieval import filters
from retrieval.search.engine import SearchEngine
from retrieval.server.api_models import AssetOut, ColumnOut, InfoOut, ItemOut, ModalityOut
from retrieval.server.urls import asset_urls
from retrieval.storage.catalog import Catalog
from retrieval.storage.schema import Item
from retrieval.types import Modality

MAX_EXAMPLES = 12
"""Values of a column that are listed, the most common ones."""


def describe_item(engine: SearchEngine, item_id: str) -> ItemOut:
    """Return the item with this id.

    Raises:
        UnknownItemError: there is none.
    """
    numbers = [number for assets in engine.index.catalog.item_assets(item_id).values() for number in assets]
    records = [record for _, record in sorted(engine.index.catalog.records(numbers).items())]
    order = list(Modality)
    assets = []
    for record in sorted(records, key=lambda each: (order.index(each.modality), each.start or 0)):
        asset = AssetOut.model_construct(
            asset=record.id, modality=record.modality.value, path=record.path, text=record.text,
            start=record.start, end=record.end,
        )  # fmt: skip
        assets.append(asset.model_copy(update=asset_urls(asset)))
    metadata = dict(records[0].metadata) if records else {}
    return ItemOut(id=item_id, metadata=metadata, assets=assets)


def describe_index(engine: SearchEngine) -> InfoOut:
    """Return the description of the index, without the paths of its sources, which clients must not learn."""
    values = engine.manifest.as_dict()
    modalities: dict[str, ModalityOut] = {}
    for modality in Modality:
        assets, has_encoder = values["counts"].get(modality, 0), modality in engine.manifest.encoders
        if assets or has_encoder:
            kind = values["indexes"].get(modality, {}).get("kind")
            modalities[modality.value] = ModalityOut(assets=assets, index=kind, asks=has_encoder)
    copied = ("version", "generation", "created", "encoders", "alignment", "settings", "counts")
    return InfoOut.model_validate(
        {
            **{name: values[name] for name in copied},
            "items": values["counts"]["items"],
            "modalities": modalities,
            "fusion": engine.manifest.items.get("fusion"),
            "columns": describe_columns(engine.index.catalog),
        }
    )


def describe_columns(catalog: Catalog) -> list[ColumnOut]:
    """Return every metadata column with its most common values and, for numbers, the minimum and maximum."""
    return [_describe_column(catalog, name, kind) for name, kind in catalog.columns().items()]


def _describe_column(catalog: Catalog, name: str, kind: str) -> ColumnOut:
    stored = filters.stored(Item.__table__.c.metadata, name)
    with catalog.session() as session:
        most_common = (
            select(stored.label("value"), func.count().label("count"))
            .select_from(Item)  # needed: a column name that takes a subquery does not imply the table
            .where(stored.is_not(None))
            .group_by("value")
            .order_by(func.count().desc(), "value")
            .limit(MAX_EXAMPLES)
        )
        examples: list[Any] = [value for value, _ in session.execute(most_common)]
        low, high = session.execute(select(func.min(stored), func.max(stored)).select_from(Item)).one()
    if kind == "boolean":
        examples, low, high = [bool(each) for each in examples], None, None
    if kind == "text":
        low, high = None, None
    return ColumnOut(name=name, type=kind, examples=examples, min=low, max=high)  # type: ignore[arg-type]
