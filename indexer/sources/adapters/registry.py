"""Registry of data set formats, and parsing of sources ``FORMAT:PATH``."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from indexer.sources.adapters import datasets, embeddings, webdataset
from indexer.sources.adapters.base import Adapter, Dataset
from indexer.sources.readers.folders import shown
from retrieval.errors import SourceError
from retrieval.formatting import single_spaced

TEST = "split = 'test'"

ADAPTERS: Mapping[str, Adapter] = MappingProxyType(
    {
        "coco": Adapter(datasets.karpathy, TEST, 5, "COCO captions: dataset_coco.json, Karpathy's split"),
        "flickr30k": Adapter(
            datasets.karpathy, TEST, 5, "Flickr30k: dataset_flickr30k.json, Karpathy's split"
        ),
        "flickr8k": Adapter(datasets.karpathy, TEST, 5, "Flickr8k: dataset_flickr8k.json, Karpathy's split"),
        "flickr-token": Adapter(datasets.flickr, TEST, 5, "Flickr8k, Flickr30k: the authors' .token file"),
        "clotho": Adapter(datasets.clotho, TEST, 5, "Clotho: a folder with clotho_captions_*.csv"),
        "audiocaps": Adapter(datasets.audiocaps, TEST, 5, "AudioCaps: a folder with train, val, test.csv"),
        "msrvtt": Adapter(datasets.msrvtt, TEST, None, "MSR-VTT: *videodatainfo.json; 1k-A with its CSV"),
        "webdataset": Adapter(webdataset.webdataset, None, None, "tar shards, as img2dataset writes them"),
        "embeddings": Adapter(embeddings.clip_retrieval, None, None, "clip-retrieval's folder of vectors"),
    }
)


def split(source: str | os.PathLike[str]) -> tuple[str, Path] | None:
    """Return format and path of a source ``FORMAT:PATH``; None for a folder or manifest.

    If a file or folder with exactly this name exists, the source is that file or folder.
    """
    name, colon, path = os.fspath(source).partition(":")
    if not colon or name not in ADAPTERS or Path(source).exists():
        return None
    return name, Path(path)


def absolute(source: str | os.PathLike[str]) -> str:
    """Return the source with an absolute path, to show it and to compare it with the sources of earlier jobs."""
    adapted = split(source)
    return shown(str(Path(source).resolve()) if adapted is None else f"{adapted[0]}:{adapted[1].resolve()}")


def read(name: str, path: Path) -> Dataset:
    """Read the data set at ``path`` in the format ``name``.

    Raises:
        SourceError: a file is missing, or is not in this format.
    """
    try:
        return ADAPTERS[name].read(path)
    except (OSError, ValueError, KeyError, TypeError, tarfile.TarError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else single_spaced(str(error))
        raise SourceError(
            f"{str(path)!r} cannot be read as {name} ({ADAPTERS[name].description}): {reason}"
        ) from error
