"""Hits as HTML: a fragment for notebooks, or one self-contained file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retrieval.display.previews import Preview
from retrieval.display.rendering import LOOK, render
from retrieval.types import Hit

SCOPE = "xmodal-hits"
"""CSS class of the notebook's element; the style sheet is restricted to it."""


def fragment(hits: Sequence[Hit], previews: Sequence[Preview] | None) -> str:
    """Return the hits as HTML for a page that has its own styles.

    Args:
        hits: the hits.
        previews: a preview of each hit; None if no index is available to make them.
    """
    from markupsafe import Markup

    look = LOOK.read_text(encoding="utf-8").replace(":root", f".{SCOPE}")
    scoped = Markup(look)  # noqa: S704 - our own file
    return render("results.html.j2", whole=False, scoped=scoped, title="", cards=_cards(hits, previews))


def write(path: Path, hits: Sequence[Hit], previews: Sequence[Preview], title: str) -> None:
    """Write the hits, with a preview of each, to the HTML file ``path``; ``title`` describes the query."""
    page = render("results.html.j2", whole=True, scoped="", title=title, cards=_cards(hits, previews))
    path.write_text(page, encoding="utf-8")


def _cards(hits: Sequence[Hit], previews: Sequence[Preview] | None) -> list[dict[str, Any]]:
    if previews is None:
        previews = [Preview(hit.id, hit.modality, hit.text, hit.path, problem=hit.path) for hit in hits]
    return [{"hit": hit, "preview": preview} for hit, preview in zip(hits, previews, strict=True)]
