"""How many hits are wanted."""

from __future__ import annotations

from typing import Any

import numpy as np

from retrieval.errors import OptionError


def check_k(k: Any) -> int:
    """``k`` as an int, a whole number of NumPy's too.

    Raises:
        OptionError: it is none of at least 1.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise OptionError(f"k must be a whole number of at least 1, not {k!r}")
    return int(k)
