"""Shards of webdataset, as img2dataset writes them: tar files with a sample's parts under one name."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

from indexer.sources.adapters.base import Dataset, Extent, need
from retrieval.formatting import single_spaced
from retrieval.media.formats import modality_of
from retrieval.types import Modality

OWN = frozenset({"key", "caption", "id", "image", "audio", "video"})
"""What a sample's JSON repeats, or would be mistaken for."""

SMALL = 10_000_000
"""Bytes up to which captions and metadata are read."""


def webdataset(path: Path) -> Dataset:
    """A ``.tar`` file, or a folder of them: ``KEY.jpg``, ``KEY.txt`` (a caption), ``KEY.json`` (metadata).

    The parts of a sample share all that stands before the first dot of the file's name. Pictures, sounds and
    videos stay where they are and are read from the archive. Of an archive that is cut short, what comes before
    the cut is taken.

    Raises:
        TarError: nothing in it can be read.
    """
    need(path, "a .tar file, or a folder of them")
    shards = [path] if path.is_file() else sorted(path.glob("*.tar"))
    need(shards[0] if shards else path / "*.tar", "a folder of .tar files")
    samples: dict[str, dict[str, Any]] = {}
    problems: list[tuple[str, str]] = []
    for shard in shards:
        try:
            _read(samples, shard)
        except (OSError, tarfile.TarError) as error:
            if not samples and shard == shards[-1]:
                raise
            problems.append((shard.name, f"cannot be read to its end: {single_spaced(str(error))}"))
    return Dataset(shards[0].parent, list(samples.values()), problems=problems)


def _read(samples: dict[str, dict[str, Any]], shard: Path) -> None:
    with tarfile.open(shard, "r:") as archive:
        for member in archive:
            if member.isfile():
                _add(samples, shard, archive, member)


def _add(
    samples: dict[str, dict[str, Any]], shard: Path, archive: tarfile.TarFile, member: tarfile.TarInfo
) -> None:
    folder, _, name = member.name.rpartition("/")
    stem, _, ending = name.partition(".")
    if not stem:
        return
    sample = samples.setdefault(
        f"{folder}/{stem}" if folder else stem, {"id": f"{folder}/{stem}" if folder else stem}
    )
    if ending in ("txt", "json"):
        file = archive.extractfile(member)
        if file is None or member.size > SMALL:
            return
        text = file.read().decode("utf-8", "replace")
        if ending == "txt":
            sample["caption"] = text
        else:
            sample |= {key: value for key, value in _metadata(text).items() if key not in OWN}
        return
    modality = modality_of(Path(name))
    if modality is not None and modality is not Modality.TEXT:
        sample[modality] = Extent(f"{shard.name}/{member.name}", shard, member.offset_data, member.size)


def _metadata(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
