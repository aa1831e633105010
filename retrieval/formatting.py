"""Format text in one line and numbers, for people to read."""

from __future__ import annotations

from collections.abc import Sequence


def one_line(text: str) -> str:
    """Replace line breaks and control characters, which a terminal would execute, by spaces."""
    return "".join(character if character.isprintable() else " " for character in text)


def number(value: float | str | None) -> str:
    """Format a count, a share or a rank; None becomes a dash."""
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def interval(ends: Sequence[float] | None) -> str:
    """Format an interval such as ``[0.312, 0.402]``; empty without one."""
    return f"[{number(ends[0])}, {number(ends[1])}]" if ends else ""


def single_spaced(text: str) -> str:
    """Return ``text`` in one line: each run of white space becomes one space."""
    return " ".join(text.split())


def reason(error: BaseException) -> str:
    """Return the reason of an error in one line: the system's reason, else the message, else the error's class."""
    return getattr(error, "strerror", None) or single_spaced(str(error)) or type(error).__name__
