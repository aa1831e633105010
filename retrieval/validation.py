"""Names that options take."""

from __future__ import annotations

from collections.abc import Collection

from retrieval.errors import OptionError


def known(what: str, name: str, names: Collection[str]) -> str:
    """``name`` itself.

    Args:
        what: is named, for the message.
        name: that was given.
        names: that there are.

    Raises:
        OptionError: it is none of ``names``.
    """
    if name not in names:
        raise OptionError(f"unknown {what} {name!r}: expected one of {', '.join(names)}")
    return name
