"""Held-out items: never used to fit or choose an alignment."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from sqlalchemy import create_engine, insert, select

from retrieval import filters
from retrieval.errors import OptionError
from retrieval.storage.schema import Item
from retrieval.types import MetadataValue

Holdout = str | float | None
"""A fraction of the items, an expression over their metadata, or None for no held-out items."""


def check_holdout(holdout: Holdout) -> Holdout:
    """Check ``holdout`` and return it; text that is a number is returned as a float.

    Raises:
        OptionError: a fraction is not in [0, 1].
        ExpressionError: an expression does not parse.
    """
    if holdout is None:
        return None
    try:
        fraction = float(holdout)
    except ValueError:
        filters.parse(str(holdout))
        return holdout
    if not 0 <= fraction <= 1:
        raise OptionError(f"holdout must be a fraction from 0 to 1, or an expression, not {holdout}")
    return fraction


def choose(
    holdout: Holdout,
    items: Mapping[str, Mapping[str, MetadataValue]],
    columns: Mapping[str, str],
    *,
    seed: int,
) -> set[str]:
    """Return the ids of the held-out items.

    Args:
        holdout: as ``check_holdout`` returned it.
        items: each item's metadata by its id.
        columns: the kind of each metadata column.
        seed: random seed of a fraction.

    Raises:
        ExpressionError: an expression names an unknown column.
    """
    if holdout is None:
        return set()
    if isinstance(holdout, str):
        return _satisfying(holdout, items, columns)
    return {key for key in items if _is_drawn(key, holdout, seed)}


def _is_drawn(key: str, fraction: float, seed: int) -> bool:
    """Return whether item ``key`` is in the held-out fraction; this depends on the id and the seed alone.

    So an item stays held out, or not, when other items come and go. No item is trained on after it was tested on.
    """
    draw = hashlib.sha256(f"{seed}\0{key}".encode()).digest()[:8]
    return int.from_bytes(draw, "big") < fraction * 2**64


def _satisfying(
    holdout: str, items: Mapping[str, Mapping[str, MetadataValue]], columns: Mapping[str, str]
) -> set[str]:
    """Return the ids that satisfy an expression. SQLite evaluates it, as it does for search filters, so both agree."""
    table = Item.__table__
    condition = filters.condition(filters.parse(holdout), table.c.metadata, columns)
    engine = create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            Item.metadata.create_all(connection, tables=[table])  # type: ignore[list-item]
            rows = [
                {"key": key, "held_out": False, "metadata": dict(values)} for key, values in items.items()
            ]
            if rows:
                connection.execute(insert(table), rows)  # type: ignore[arg-type]
            return set(connection.execute(select(table.c.key).where(condition)).scalars())
    finally:
        engine.dispose()
