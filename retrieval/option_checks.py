"""Checks of option values: names, counts and percentiles."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from retrieval.errors import OptionError


def known(what: str, name: str, names: Collection[str]) -> str:
    """Return ``name`` if it is one of ``names``.

    Args:
        what: kind of the name, such as "modality", for the message.
        name: the name to check.
        names: the allowed names.

    Raises:
        OptionError: ``name`` is not in ``names``.
    """
    if name not in names:
        raise OptionError(f"unknown {what} {name!r}: expected one of {', '.join(names)}")
    return name


def check_k(k: Any) -> int:
    """Return ``k`` as an int; NumPy integers are accepted.

    Raises:
        OptionError: ``k`` is not a whole number of at least 1.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise OptionError(f"k must be a whole number of at least 1, not {k!r}")
    return int(k)


def check_percentile(percentile: Any) -> float | None:
    """Return ``percentile`` as a float; None is accepted.

    Raises:
        OptionError: it is not a number from 0 to 100.
    """
    if percentile is None:
        return None
    is_number = isinstance(percentile, int | float | np.number) and not isinstance(percentile, bool)
    if not is_number or not 0 <= percentile <= 100:
        raise OptionError(f"min_percentile must be a number from 0 to 100, not {percentile!r}")
    return float(percentile)
