"""Captioned data sets as their authors publish them: pictures, sounds and videos."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from indexer.sources.adapters.base import Dataset, first_there, grouped, load_json, need
from indexer.sources.tables import Row

PICTURE_FOLDERS = ("", "images/", "flickr30k-images/", "flickr30k_images/", "Flicker8k_Dataset/", "Images/")


def karpathy(path: Path) -> Dataset:
    """COCO, Flickr8k or Flickr30k in Karpathy's split (cs.stanford.edu/people/karpathy/deepimagesent).

    ``dataset_coco.json`` and the like: ``images`` with ``filepath``, ``filename``, ``split`` and ``sentences``
    with ``raw``. What the split calls ``restval`` is training data, as everybody has it. Pictures are looked
    for beside the file.
    """
    folder = need(path, "dataset_coco.json, dataset_flickr8k.json or dataset_flickr30k.json").parent
    rows = []
    for image in load_json(path)["images"]:
        name, own = image["filename"], image.get("filepath", "")
        folders = [f"{own}/", *PICTURE_FOLDERS] if own else PICTURE_FOLDERS
        rows.append(
            {
                "id": Path(name).stem,
                "image": first_there(folder, [each + name for each in folders]),
                "caption": [sentence["raw"] for sentence in image["sentences"]],
                "split": "train" if image["split"] == "restval" else image["split"],
            }
        )
    return Dataset(folder, rows)


def flickr(path: Path) -> Dataset:
    """Flickr8k or Flickr30k as first published: ``Flickr8k.token.txt``, or ``results_20130124.token``.

    Lines ``NAME.jpg#0<tab>caption``. For Flickr8k the lists ``Flickr_8k.trainImages.txt`` and so on beside it
    are the split; Flickr30k came without one: take Karpathy's file for that.
    """
    folder = need(path, "Flickr8k.token.txt or results_20130124.token").parent
    splits = {
        line.strip(): split
        for split, part in (("train", "train"), ("val", "dev"), ("test", "test"))
        for list_of in folder.glob(f"*.{part}Images.txt")
        for line in list_of.read_text(encoding="utf-8").splitlines()
    }
    lines = [line.partition("\t") for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    if not all(caption for _, _, caption in lines):
        raise ValueError("expected lines NAME.jpg#0<tab>caption")
    rows: list[Row] = [
        {
            "id": Path(name).stem,
            "image": first_there(folder, [each + name for each in PICTURE_FOLDERS]),
            "caption": captions,
            **({"split": splits[name]} if name in splits else {}),
        }
        for name, captions in grouped((name.partition("#")[0], caption) for name, _, caption in lines)
    ]
    return Dataset(folder, rows)


def clotho(path: Path) -> Dataset:
    """Clotho (zenodo.org/records/4783391): the folder of ``clotho_captions_SPLIT.csv``, or one of these files.

    Columns ``file_name`` and ``caption_1`` to ``caption_5``; sounds in the folder ``SPLIT`` beside it.
    """
    folder, tables = _tables(path, "clotho_captions_*.csv")
    rows = []
    for table in tables:
        split = table.stem.removeprefix("clotho_captions_")
        for row in _csv(table):
            name = row["file_name"]
            rows.append(
                {
                    "id": f"{split}/{Path(name).stem}",
                    "audio": first_there(folder, [f"{split}/{name}", f"clotho_audio_{split}/{name}", name]),
                    "caption": [row[f"caption_{number}"] for number in range(1, 6)],
                    "split": {"development": "train", "validation": "val", "evaluation": "test"}.get(
                        split, split
                    ),
                }
            )
    return Dataset(folder, rows)


def audiocaps(path: Path) -> Dataset:
    """AudioCaps (github.com/cdjkim/audiocaps): the folder of ``train.csv``, ``val.csv``, ``test.csv``, or one.

    Columns ``audiocap_id``, ``youtube_id``, ``start_time``, ``caption``; a clip has five rows in ``val`` and
    ``test``. Sounds go by several names, as everybody fetches them.
    """
    folder, tables = _tables(path, "*.csv")
    rows: list[Row] = []
    for table in tables:
        split = table.stem
        clips: dict[str, dict[str, str]] = {}
        captions = []
        for row in _csv(table):
            key = f"{row['youtube_id']}_{row['start_time']}"
            clips.setdefault(key, row)
            captions.append((key, row["caption"]))
        for key, of in grouped(captions):
            clip = clips[key]
            stems = (clip["youtube_id"], f"Y{clip['youtube_id']}", key, clip["audiocap_id"])
            names = [
                f"{inside}{stem}{ending}"
                for inside in (f"{split}/", "", f"audio/{split}/", "audio/")
                for stem in stems
                for ending in (".wav", ".flac", ".mp3", ".ogg")
            ]
            rows.append(
                {
                    "id": f"{split}/{key}",
                    "audio": first_there(folder, names),
                    "caption": of,
                    "split": split,
                    "start_time": clip["start_time"],
                }
            )
    return Dataset(folder, rows)


def msrvtt(path: Path) -> Dataset:
    """MSR-VTT: ``train_val_videodatainfo.json``, ``test_videodatainfo.json`` or one file of everything.

    ``videos`` with ``video_id``, ``split``, ``category``; ``sentences`` with ``video_id``, ``caption``. A split
    called ``validate`` is ``val`` here. Videos are looked for beside the file. With
    ``MSRVTT_JSFUSION_test.csv`` beside it the split is "1k-A": its thousand videos, with its one caption each,
    are the test, all others are for training.
    """
    folder = need(path, "a *videodatainfo.json").parent
    data = load_json(path)
    captions = dict(grouped((each["video_id"], each["caption"]) for each in data["sentences"]))
    chosen = folder / "MSRVTT_JSFUSION_test.csv"
    tested = {row["video_id"]: row["sentence"] for row in _csv(chosen)} if chosen.is_file() else None
    rows = []
    for video in data["videos"]:
        key = video["video_id"]
        split = {"validate": "val"}.get(video["split"], video["split"])
        of = captions.get(key, [])
        if tested is not None:
            split = "test" if key in tested else "train"
            of = [tested[key]] if key in tested else of
        names = [
            f"{inside}{key}.{ending}"
            for inside in ("", "TrainValVideo/", "TestVideo/", "videos/all/", "videos/", "all/", "video/")
            for ending in ("mp4", "webm", "avi")
        ]
        row: dict[str, Any] = {"id": key, "video": first_there(folder, names), "caption": of, "split": split}
        rows.append({**row, "category": video.get("category")})
    return Dataset(folder, rows)


def _tables(path: Path, pattern: str) -> tuple[Path, list[Path]]:
    """The folder, and the files in it that are meant: all that match, or the one named."""
    need(path, f"a folder with {pattern}, or one of these files")
    if path.is_file():
        return path.parent, [path]
    found = sorted(path.glob(pattern))
    need(found[0] if found else path / pattern, f"a folder with {pattern}")
    return path, found


def _csv(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)
