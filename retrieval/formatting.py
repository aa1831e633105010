"""Text for people: one line of anything, and figures."""

from __future__ import annotations

from collections.abc import Sequence


def one_line(text: str) -> str:
    """Without line breaks and control characters, which a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text)


def number(value: float | str | None) -> str:
    """A count, a share or a rank; a dash for none."""
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def interval(ends: Sequence[float] | None) -> str:
    """``[0.312, 0.402]``, or nothing."""
    return f"[{number(ends[0])}, {number(ends[1])}]" if ends else ""


def single_spaced(text: str) -> str:
    """Return ``text`` in one line: every run of white space becomes one space."""
    return " ".join(text.split())


def reason(error: BaseException) -> str:
    """Return in one line why something failed: the system's reason, else the message, else the error's class."""
    return getattr(error, "strerror", None) or single_spaced(str(error)) or type(error).__name__
