"""Render HTML templates, with all data escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from retrieval import formatting

LOOK = Path(__file__).with_name("look.css")
"""Style sheet with colours and fonts, shared with the server's page."""


def render(template: str, **values: Any) -> str:
    """Render the template of this name in this folder, with ``look`` and these values as variables."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": formatting.number, "interval": formatting.interval}
    look = Markup(LOOK.read_text(encoding="utf-8"))  # noqa: S704 - our own file
    return environment.get_template(template).render(look=look, **values)
