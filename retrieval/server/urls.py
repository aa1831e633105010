"""Where the files of assets are served."""

from __future__ import annotations

from retrieval.server.api_models import AssetOut
from retrieval.types import Hit


def asset_urls(asset: Hit | AssetOut) -> dict[str, str | None]:
    """Where the file and the thumbnail of an asset are served, if it may have any."""
    if asset.text is not None or asset.path is None:  # a text file's too, and an item's that is shown by one
        return {"media": None, "thumbnail": None}
    media = f"/api/media/{asset.asset}"
    return {"media": media, "thumbnail": f"{media}/thumbnail"}
