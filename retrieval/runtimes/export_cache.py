"""What was exported of networks, in the user's cache folder: each is a folder of files, whole or not there.

An export is made once, in a folder of its own that then takes the final name in one rename. So readers and any
number of writers need no lock: who comes second finds the name taken and drops its own. Sums are checked before
files are used, and what is damaged is made anew.
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
    """Where exports are kept: under ``$XDG_CACHE_HOME``, or what the system has in its place."""
    from platformdirs import user_cache_path

    return user_cache_path("xmodal", appauthor=False) / "exports"


def cached_export(key: str, make: Callable[[Path], None]) -> Path | None:
    """The folder of the export ``key``, made by ``make`` if there is none or it is damaged.

    Args:
        key: a file name.
        make: writes the export's files into an empty folder.

    Returns:
        None where nothing can be written: the cache is a matter of speed alone.
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
    except OSError:  # no space left, for instance
        return target if _is_intact(target) else None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def _is_intact(target: Path) -> bool:
    try:
        sums = json.loads((target / CHECKSUMS).read_text(encoding="utf-8"))
        return bool(sums) and all(sha256_of(target / name) == own for name, own in sums.items())
    except (OSError, ValueError, AttributeError):
        return False


def _publish(staging: Path, target: Path) -> None:
    """Give ``staging`` the name ``target``, unless somebody did meanwhile."""
    try:
        staging.rename(target)
    except OSError:
        if _is_intact(target):
            return
        # A damaged one is moved away first: a folder that is not empty cannot be renamed over.
        damaged = staging.with_name(f"{staging.name}.damaged")
        target.rename(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
        staging.rename(target)
