"""Hits to look at: as a part of a notebook, or as one HTML file that needs no other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.report.media import Medium
from retrieval.report.rendering import LOOK, render
from retrieval.types import Hit

if TYPE_CHECKING:
    from retrieval.searcher import Searcher

SCOPE = "xmodal-hits"
"""The class of the element that a notebook gets; the look applies inside of it alone."""


def fragment(hits: Sequence[Hit], searcher: Searcher | None) -> str:
    """The hits for a page that has its own look."""
    from markupsafe import Markup

    look = LOOK.read_text(encoding="utf-8").replace(":root", f".{SCOPE}")
    scoped = Markup(look)  # noqa: S704 - our own file
    return render("results.html.j2", whole=False, scoped=scoped, title="", cards=_cards(hits, searcher))


def write(path: Path, hits: Sequence[Hit], searcher: Searcher, title: str) -> None:
    """Write the hits to the HTML file ``path``, under a title that says what was asked."""
    page = render("results.html.j2", whole=True, scoped="", title=title, cards=_cards(hits, searcher))
    path.write_text(page, encoding="utf-8")


def _cards(hits: Sequence[Hit], searcher: Searcher | None) -> list[dict[str, Any]]:
    if searcher is None:
        shown = [Medium(hit.id, hit.modality, hit.text, hit.path, problem=hit.path) for hit in hits]
    else:
        shown = searcher.media(hits)
    return [{"hit": hit, "medium": medium} for hit, medium in zip(hits, shown, strict=True)]
