"""Cache of exported networks in the user's cache folder: each export is a folder that is complete or absent.

An export is written once to a temporary folder, which then gets its final name in one rename. So readers and any
number of writers need no lock: a second writer finds the name taken and drops its own copy. Checksums are verified
before files are used, and a damaged export is made again.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from retrieval.checksums import sha256_of

CHECKSUMS = "sums.json"


def folder() -> Path:
    """Return the cache folder: under ``$XDG_CACHE_HOME``, or the system's equivalent."""
    from platformdirs import user_cache_path

    return user_cache_path("xmodal", appauthor=False) / "exports"


def cached_export(key: str, make: Callable[[Path], None]) -> Path | None:
    """Return the folder of the export ``key``; ``make`` creates it if it is missing or damaged.

    Args:
        key: a file name.
        make: writes the export's files into an empty folder.

    Returns:
        The folder; None if nothing can be written, because the cache only affects speed.
    """
    target = folder() / key
    if _is_intact(target):
        return target
    try:
        folder().mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=folder()))
    except OSError:
        return None
    try:
        make(staging)
        sums = {file.name: sha256_of(file) for file in staging.iterdir()}
        (staging / CHECKSUMS).write_text(json.dumps(sums), encoding="utf-8")
        _publish(staging, target)
    except OSError:  # for example, no space left
        return target if _is_intact(target) else None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def _is_intact(target: Path) -> bool:
    try:
        sums = json.loads((target / CHECKSUMS).read_text(encoding="utf-8"))
        return bool(sums) and all(sha256_of(target / name) == expected for name, expected in sums.items())
    except (OSError, ValueError, AttributeError):
        return False


def _publish(staging: Path, target: Path) -> None:
    """Rename ``staging`` to ``target``, unless another process has published an intact export."""
    try:
        staging.rename(target)
    except OSError:
        if _is_intact(target):
            return
        # Move a damaged export away first: a rename cannot replace a folder that is not empty.
        damaged = staging.with_name(f"{staging.name}.damaged")
        target.rename(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
        staging.rename(target)
