"""Read and write NumPy files of an index folder."""

from __future__ import annotations

from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.checksums import Checksum
from retrieval.errors import DamagedIndexError


def read(path: Path, checksum: Checksum | None = None) -> NDArray[Any]:
    """Return the array in ``path``.

    Args:
        path: a NumPy file.
        checksum: its checksum, if known.

    Raises:
        DamagedIndexError: the file is missing, holds no array of numbers, or does not match its checksum.
    """
    if checksum and (problem := checksum.check_fully(path)) is not None:
        raise DamagedIndexError(f"{path} {problem}: run 'xmodal repair' on the index")
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, TokenError) as error:
        reason = str(error).splitlines()[0]
        raise DamagedIndexError(f"{path} cannot be read ({reason}): restore or rebuild the index") from error
    return array


def write(path: Path, array: NDArray[Any]) -> None:
    """Write ``array`` to ``path``; no ending is added to the name."""
    with path.open("wb") as file:
        np.save(file, array)
