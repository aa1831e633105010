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
