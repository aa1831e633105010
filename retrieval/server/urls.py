"""URLs of assets' files."""

from __future__ import annotations

from retrieval.server.api_models import AssetOut
from retrieval.types import Hit


def asset_urls(asset: Hit | AssetOut) -> dict[str, str | None]:
    """Return the URL paths of an asset's file and thumbnail; None if it has none."""
    # Text files have none either, nor does an item that is represented by one.
    if asset.text is not None or asset.path is None:
        return {"media": None, "thumbnail": None}
    media = f"/api/media/{asset.asset}"
    return {"media": media, "thumbnail": f"{media}/thumbnail"}
