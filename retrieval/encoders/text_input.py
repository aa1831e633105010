"""Text as tokenisers take it."""

from __future__ import annotations

from typing import Any

from retrieval.errors import MediaError


def checked_text(medium: Any) -> str:
    """``medium`` itself, what is no character replaced.

    Raises:
        MediaError: it is no ``str``.
    """
    if not isinstance(medium, str):
        raise MediaError(f"expected text as a str, not {type(medium).__name__}")
    # File names can carry lone surrogates, which tokenisers refuse.
    return medium.encode("utf-8", "replace").decode("utf-8")


def no_words_error(medium: str) -> MediaError:
    """What is raised of a text in which a tokeniser finds nothing."""
    return MediaError(f"expected text with at least one word, not {medium[:20]!r}")
