"""Sources for the tests of the page: a few items that a toy encoder separates, and items with hostile names."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import indexer
from tests.helpers import sounds, toy, videos

TONES = {"red": 200.0, "green": 1000.0, "blue": 3000.0}
"""Frequency of the sounds of three pictures, in hertz."""

CHANGE = 12
"""Second at which the film changes from red to blue."""

HOSTILE = [
    "<script>document.title='owned'</script>",
    "<img src=x onerror=document.title='owned'>",
    """quotes ' " ` and \\ backslash""",
    "two\nlines",
    "right \u202eto left\u202c and \u200fback",
    "{{ braces }} ${dollars} %20 &amp; #hash ?query ^2",
]
"""Ids, captions and values that act as markup, syntax or an address if they are not escaped."""

HOSTILE_COLUMN = 'a "b" \'<c>'


def tone(hertz: float) -> bytes:
    """Return a WAV file of two seconds."""
    rate = 16000
    return sounds.wav(np.sin(2 * np.pi * hertz * np.arange(2 * rate) / rate).astype(np.float32), rate)


def shape(colour: str) -> Image.Image:
    """Return a picture of a grey disc on a colour."""
    image = Image.new("RGB", (320, 240), toy.COLOURS[colour])
    ImageDraw.Draw(image).ellipse((130, 90, 190, 150), fill=(128, 128, 128))
    return image


def film() -> bytes:
    """Return a video that is red, then blue."""
    colours = ["red"] * CHANGE + ["blue"] * CHANGE
    return videos.video((Image.new("RGB", (160, 120), toy.COLOURS[each]) for each in colours), rate=1, keys=1)


def plain(root: Path) -> Path:
    """Write a manifest of a picture of each colour with captions and metadata, three sounds and a film."""
    rows: list[dict[str, str]] = []
    for at, colour in enumerate(toy.COLOURS):
        shape(colour).save(root / f"{colour}.png")
        row = {"id": f"shapes/{colour}", "image": f"{colour}.png", "caption": f"Something {colour}."}
        if colour in TONES:
            (root / f"{colour}.wav").write_bytes(tone(TONES[colour]))
            row["audio"] = f"{colour}.wav"
        rows.append(row | {"year": str(1990 + at), "town": "L'Aquila" if at % 2 else "Oslo"})
    (root / "film.mp4").write_bytes(film())
    rows.append({"id": "film", "video": "film.mp4"})
    with (root / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        columns = ["id", "image", "audio", "video", "caption", "year", "town"]
        table = csv.DictWriter(file, columns, restval="")
        table.writeheader()
        table.writerows(rows)
    return root / "manifest.csv"


def hostile(root: Path) -> Path:
    """Write a manifest in which every name is hostile, including file names."""
    with (root / "manifest.jsonl").open("w", encoding="utf-8") as file:
        for at, (name, colour) in enumerate(zip(HOSTILE, toy.COLOURS, strict=False)):
            picture = name.replace("/", "") + ".png"
            toy.paint(root / picture, colour, (64, 64))
            row = {"id": name, "image": picture, "caption": f"{name} {colour}", HOSTILE_COLUMN: name, "n": at}
            file.write(json.dumps(row) + "\n")
    return root / "manifest.jsonl"


def built(source: Path, folder: Path) -> Path:
    """Build the index of a source in the space of red, green and blue; call it within ``toy.encoders()``."""
    encoders = {"audio": "toy-audio", "video": "frames:toy-image"}
    summary = indexer.build(
        [source], out=folder, preset="toy", encoders=encoders, align="identity", holdout=0.0, fuse="weighted"
    )
    assert summary.failed == 0
    return folder
