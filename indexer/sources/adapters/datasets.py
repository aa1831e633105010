"""Adapters of captioned data sets of pictures, sounds and videos, as their authors publish them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from indexer.sources.adapters.base import Dataset, check_exists, first_existing, group_captions, load_json
from indexer.sources.readers.tables import Row

PICTURE_FOLDERS = ("", "images/", "flickr30k-images/", "flickr30k_images/", "Flicker8k_Dataset/", "Images/")


def karpathy(path: Path) -> Dataset:
    """COCO, Flickr8k or Flickr30k in Karpathy's split (cs.stanford.edu/people/karpathy/deepimagesent).

    ``dataset_coco.json`` and the like: ``images`` with ``filepath``, ``filename``, ``split`` and ``sentences``
    with ``raw``. The part ``restval`` counts as training data, as is usual. Pictures are searched for beside
    the file.
    """
    folder = check_exists(path, "dataset_coco.json, dataset_flickr8k.json or dataset_flickr30k.json").parent
    rows = []
    for image in load_json(path)["images"]:
        name, image_folder = image["filename"], image.get("filepath", "")
        folders = [f"{image_folder}/", *PICTURE_FOLDERS] if image_folder else PICTURE_FOLDERS
        rows.append(
            {
                "id": Path(name).stem,
                "image": first_existing(folder, [each + name for each in folders]),
                "caption": [sentence["raw"] for sentence in image["sentences"]],
                "split": "train" if image["split"] == "restval" else image["split"],
            }
        )
    return Dataset(folder, rows)


def flickr(path: Path) -> Dataset:
    """Flickr8k or Flickr30k as first published: ``Flickr8k.token.txt``, or ``results_20130124.token``.

    Lines ``NAME.jpg#0<tab>caption``. For Flickr8k the lists beside it, such as ``Flickr_8k.trainImages.txt``,
    define the split. Flickr30k was published without a split: use Karpathy's file for that.
    """
    folder = check_exists(path, "Flickr8k.token.txt or results_20130124.token").parent
    splits = {
        line.strip(): split
        for split, part in (("train", "train"), ("val", "dev"), ("test", "test"))
        for names_file in folder.glob(f"*.{part}Images.txt")
        for line in names_file.read_text(encoding="utf-8").splitlines()
    }
    lines = [line.partition("\t") for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    if not all(caption for _, _, caption in lines):
        raise ValueError("expected lines NAME.jpg#0<tab>caption")
    rows: list[Row] = [
        {
            "id": Path(name).stem,
            "image": first_existing(folder, [each + name for each in PICTURE_FOLDERS]),
            "caption": captions,
            **({"split": splits[name]} if name in splits else {}),
        }
        for name, captions in group_captions((name.partition("#")[0], caption) for name, _, caption in lines)
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
                    "audio": first_existing(
                        folder, [f"{split}/{name}", f"clotho_audio_{split}/{name}", name]
                    ),
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
    ``test``. Sound files have several naming schemes, depending on who downloaded them.
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
        for key, clip_captions in group_captions(captions):
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
                    "audio": first_existing(folder, names),
                    "caption": clip_captions,
                    "split": split,
                    "start_time": clip["start_time"],
                }
            )
    return Dataset(folder, rows)


def msrvtt(path: Path) -> Dataset:
    """MSR-VTT: ``train_val_videodatainfo.json``, ``test_videodatainfo.json`` or one file of everything.

    ``videos`` with ``video_id``, ``split``, ``category``; ``sentences`` with ``video_id``, ``caption``. A split
    called ``validate`` is ``val`` here. Videos are searched for beside the file. With
    ``MSRVTT_JSFUSION_test.csv`` beside it the split is "1k-A": its thousand videos, with one caption each, are the
    test part, and all other videos are for training.
    """
    folder = check_exists(path, "a *videodatainfo.json").parent
    data = load_json(path)
    captions = dict(group_captions((each["video_id"], each["caption"]) for each in data["sentences"]))
    split_file = folder / "MSRVTT_JSFUSION_test.csv"
    test_captions = (
        {row["video_id"]: row["sentence"] for row in _csv(split_file)} if split_file.is_file() else None
    )
    rows = []
    for video in data["videos"]:
        key = video["video_id"]
        split = {"validate": "val"}.get(video["split"], video["split"])
        video_captions = captions.get(key, [])
        if test_captions is not None:
            split = "test" if key in test_captions else "train"
            video_captions = [test_captions[key]] if key in test_captions else video_captions
        names = [
            f"{inside}{key}.{ending}"
            for inside in ("", "TrainValVideo/", "TestVideo/", "videos/all/", "videos/", "all/", "video/")
            for ending in ("mp4", "webm", "avi")
        ]
        row: dict[str, Any] = {
            "id": key,
            "video": first_existing(folder, names),
            "caption": video_captions,
            "split": split,
        }
        rows.append({**row, "category": video.get("category")})
    return Dataset(folder, rows)


def _tables(path: Path, pattern: str) -> tuple[Path, list[Path]]:
    """Return the folder and its files that match ``pattern``; for a file, its folder and this file alone."""
    check_exists(path, f"a folder with {pattern}, or one of these files")
    if path.is_file():
        return path.parent, [path]
    files = sorted(path.glob(pattern))
    check_exists(files[0] if files else path / pattern, f"a folder with {pattern}")
    return path, files


def _csv(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)
