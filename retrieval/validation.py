"""Checks of option values: names, counts and percentiles."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

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


def check_k(k: Any) -> int:
    """``k`` as an int, a whole number of NumPy's too.

    Raises:
        OptionError: it is none of at least 1.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise OptionError(f"k must be a whole number of at least 1, not {k!r}")
    return int(k)


def check_percentile(least: Any) -> float | None:
    """``least`` itself.

    Raises:
        OptionError: it is no number from 0 to 100.
    """
    if least is None:
        return None
    is_number = isinstance(least, int | float | np.number) and not isinstance(least, bool)
    if not is_number or not 0 <= least <= 100:
        raise OptionError(f"min_percentile must be a number from 0 to 100, not {least!r}")
    return float(least)
