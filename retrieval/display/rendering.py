"""Templates to text, everything of the data escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from retrieval import formatting

LOOK = Path(__file__).with_name("look.css")
"""Colours and type, as the page of the server has them."""


def render(template: str, **values: Any) -> str:
    """The template of that name, beside this file, with ``look`` and these values in it."""
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
