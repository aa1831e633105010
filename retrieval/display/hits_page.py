"""Hits to look at: as a part of a notebook, or as one HTML file that needs no other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retrieval.display.previews import Preview
from retrieval.display.rendering import LOOK, render
from retrieval.types import Hit

SCOPE = "xmodal-hits"
"""The class of the element that a notebook gets; the look applies inside of it alone."""


def fragment(hits: Sequence[Hit], media: Sequence[Preview] | None) -> str:
    """Return the hits as HTML for a page that has its own styles.

    Args:
        hits: what was found.
        media: a preview of each hit; None where no index is at hand to make them.
    """
    from markupsafe import Markup

    look = LOOK.read_text(encoding="utf-8").replace(":root", f".{SCOPE}")
    scoped = Markup(look)  # noqa: S704 - our own file
    return render("results.html.j2", whole=False, scoped=scoped, title="", cards=_cards(hits, media))


def write(path: Path, hits: Sequence[Hit], media: Sequence[Preview], title: str) -> None:
    """Write the hits, with a preview of each, to the HTML file ``path``; the title says what was searched for."""
    page = render("results.html.j2", whole=True, scoped="", title=title, cards=_cards(hits, media))
    path.write_text(page, encoding="utf-8")


def _cards(hits: Sequence[Hit], media: Sequence[Preview] | None) -> list[dict[str, Any]]:
    if media is None:
        media = [Preview(hit.id, hit.modality, hit.text, hit.path, problem=hit.path) for hit in hits]
    return [{"hit": hit, "medium": medium} for hit, medium in zip(hits, media, strict=True)]
