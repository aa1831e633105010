"""Adapter of webdataset shards, as img2dataset writes them: tar files with the parts of a sample under one name."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

from indexer.sources.adapters.base import Dataset, Extent, check_exists
from retrieval.formatting import single_spaced
from retrieval.media.formats import modality_of
from retrieval.types import Modality

RESERVED = frozenset({"key", "caption", "id", "image", "audio", "video"})
"""Keys of a sample's JSON that are not metadata: they repeat its files, or clash with the manifest's columns."""

SMALL = 10_000_000
"""Maximum bytes of a caption or metadata file."""


def webdataset(path: Path) -> Dataset:
    """A ``.tar`` file, or a folder of them: ``KEY.jpg``, ``KEY.txt`` (a caption), ``KEY.json`` (metadata).

    The parts of a sample share the file name up to the first dot. Pictures, sounds and videos are not extracted:
    they are read from the archive. Of a truncated archive, the part before the cut is used.

    Raises:
        TarError: no sample can be read.
    """
    check_exists(path, "a .tar file, or a folder of them")
    shards = [path] if path.is_file() else sorted(path.glob("*.tar"))
    check_exists(shards[0] if shards else path / "*.tar", "a folder of .tar files")
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
            sample |= {key: value for key, value in _metadata(text).items() if key not in RESERVED}
        return
    modality = modality_of(Path(name))
    if modality is not None and modality is not Modality.TEXT:
        sample[modality] = Extent(f"{shard.name}/{member.name}", shard, member.offset_data, member.size)


def _metadata(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
