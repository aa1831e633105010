"""Where the files of assets are served."""

from __future__ import annotations

from retrieval.server.models import AssetOut
from retrieval.types import Hit, Modality


def addresses(asset: Hit | AssetOut) -> dict[str, str | None]:
    """Where the file and the thumbnail of an asset are served, if it may have any."""
    if asset.modality == Modality.TEXT or asset.path is None:
        return {"media": None, "thumbnail": None}
    media = f"/api/media/{asset.asset}"
    return {"media": media, "thumbnail": f"{media}/thumbnail"}
