"""Adapter of a folder of embeddings, as clip-retrieval's ``inference`` writes it: vectors without an encoder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from indexer.sources.adapters.base import Dataset, Vector, check_exists
from retrieval.errors import SourceError
from retrieval.formatting import single_spaced
from retrieval.types import Matrix, Modality

FOLDERS: Mapping[Modality, str] = {Modality.IMAGE: "img_emb", Modality.TEXT: "text_emb"}

RESERVED = frozenset({"image_path", "caption", "id", "image", "audio", "video"})


def clip_retrieval(path: Path) -> Dataset:
    """``img_emb/img_emb_N.npy``, ``text_emb/text_emb_N.npy`` and ``metadata/metadata_N.parquet``.

    Row i in all files of part N belongs to one item. Its id is the column ``key`` of img2dataset's samples, or else
    part and row. ``image_path`` and ``caption`` belong to its assets; all other columns become metadata.

    Raises:
        SourceError: there are no vectors, or the files of a part have different numbers of rows.
    """
    check_exists(path, "a folder with img_emb/ or text_emb/")
    parts = {
        modality: {_number(file): file for file in (path / folder).glob("*.npy")}
        for modality, folder in FOLDERS.items()
    }
    tables = {_number(file): file for file in (path / "metadata").glob("*.parquet")}
    numbers = sorted(set().union(*parts.values()))
    if not numbers:
        raise SourceError(f"there are no vectors in {str(path)!r}: expected img_emb/*.npy or text_emb/*.npy")
    rows: list[dict[str, Any]] = []
    sizes: dict[Modality, int] = {}
    for number in numbers:
        vectors = {modality: _read(files[number]) for modality, files in parts.items() if number in files}
        metadata = _metadata(tables[number]) if number in tables else None
        sizes |= {modality: each.shape[1] for modality, each in vectors.items()}
        counts = {len(each) for each in vectors.values()} | (
            {len(metadata)} if metadata is not None else set()
        )
        if len(counts) != 1:
            raise SourceError(
                f"the files of part {number} in {str(path)!r} hold {' and '.join(map(str, sorted(counts)))} rows: "
                "expected one row per item in each"
            )
        for at in range(counts.pop()):
            known = metadata[at] if metadata is not None else {}
            rows.append(
                _row(f"{number}/{at}", known, {modality: each[at] for modality, each in vectors.items()})
            )
    one_space = len(set(sizes.values())) == 1
    return Dataset(
        path,
        rows,
        {modality: f"given-{modality}:{size}" for modality, size in sizes.items()},
        align="identity" if one_space else None,
    )


def _row(key: str, known: Mapping[str, Any], vectors: Mapping[Modality, Matrix]) -> dict[str, Any]:
    caption = known.get("caption")
    row = {name: value for name, value in known.items() if name not in RESERVED and name != "key"}
    row["id"] = str(known.get("key") or key)
    if Modality.IMAGE in vectors:
        row["image"] = Vector(vectors[Modality.IMAGE], path=str(known.get("image_path") or key))
    if Modality.TEXT in vectors and caption:
        row["caption"] = Vector(vectors[Modality.TEXT], text=str(caption))
    return row


def _number(file: Path) -> int:
    match = re.search(r"(\d+)$", file.stem)
    if match is None:
        raise SourceError(f"{str(file)!r} has no number: expected names such as img_emb_0.npy")
    return int(match[1])


def _read(file: Path) -> Matrix:
    try:
        rows: Matrix = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise SourceError(f"{str(file)!r} cannot be read: {single_spaced(str(error))}") from error
    if rows.ndim != 2 or rows.dtype.kind != "f":
        raise SourceError(f"{str(file)!r} holds {rows.dtype} of shape {rows.shape}: expected rows of floats")
    return rows


def _metadata(file: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return rows
