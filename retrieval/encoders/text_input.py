"""Check text before it is tokenised."""

from __future__ import annotations

from typing import Any

from retrieval.errors import MediaError


def checked_text(medium: Any) -> str:
    """Return ``medium`` with invalid characters replaced.

    Raises:
        MediaError: it is not a ``str``.
    """
    if not isinstance(medium, str):
        raise MediaError(f"expected text as a str, not {type(medium).__name__}")
    # File names can carry lone surrogates, which tokenisers refuse.
    return medium.encode("utf-8", "replace").decode("utf-8")


def no_words_error(medium: str) -> MediaError:
    """Return the error for a text in which the tokeniser finds no tokens."""
    return MediaError(f"expected text with at least one word, not {medium[:20]!r}")
