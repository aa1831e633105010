"""What the index holds, for people and programs to look at before they ask."""

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

EXAMPLES = 12
"""Of the values of a column, the commonest."""


def item(engine: SearchEngine, key: str) -> ItemOut:
    """The item whose id is ``key``.

    Raises:
        UnknownItemError: there is none.
    """
    numbers = [number for held in engine.index.catalog.item_assets(key).values() for number in held]
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
    return ItemOut(id=key, metadata=metadata, assets=assets)


def index(engine: SearchEngine) -> InfoOut:
    """The whole index; without the folders it was made from, which are this machine's business."""
    values = engine.manifest.as_dict()
    modalities: dict[str, ModalityOut] = {}
    for modality in Modality:
        held, asks = values["counts"].get(modality, 0), modality in engine.manifest.encoders
        if held or asks:
            kind = values["indexes"].get(modality, {}).get("kind")
            modalities[modality.value] = ModalityOut(assets=held, index=kind, asks=asks)
    same = ("version", "generation", "created", "encoders", "alignment", "settings", "counts")
    return InfoOut.model_validate(
        {
            **{name: values[name] for name in same},
            "items": values["counts"]["items"],
            "modalities": modalities,
            "fusion": engine.manifest.items.get("fusion"),
            "columns": columns(engine.index.catalog),
        }
    )


def columns(catalog: Catalog) -> list[ColumnOut]:
    """Every metadata column with its commonest values and, of numbers, the least and the greatest."""
    return [_column(catalog, name, kind) for name, kind in catalog.columns().items()]


def _column(catalog: Catalog, name: str, kind: str) -> ColumnOut:
    stored = filters.stored(Item.__table__.c.metadata, name)
    with catalog.session() as session:
        counted = (
            select(stored.label("value"), func.count().label("count"))
            .select_from(Item)  # which a name that takes a subquery does not bring along
            .where(stored.is_not(None))
            .group_by("value")
            .order_by(func.count().desc(), "value")
            .limit(EXAMPLES)
        )
        examples: list[Any] = [value for value, _ in session.execute(counted)]
        least, most = session.execute(select(func.min(stored), func.max(stored)).select_from(Item)).one()
    if kind == "boolean":
        examples, least, most = [bool(each) for each in examples], None, None
    if kind == "text":
        least, most = None, None
    return ColumnOut(name=name, type=kind, examples=examples, min=least, max=most)  # type: ignore[arg-type]
