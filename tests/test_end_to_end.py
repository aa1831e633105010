"""End to end on real pictures, with the packaged encoders: folder in, answers out."""

import csv
import shutil
from pathlib import Path

import pytest
import skimage
from PIL import Image

import indexer
import retrieval

PICTURES = {
    "chelsea.png": "a ginger cat",
    "coffee.png": "a cup of coffee",
    "rocket.jpg": "a rocket launch",
    "motorcycle_left.png": "a motor scooter",
    "horse.png": "a horse",
    "clock_motion.png": "a wall clock",
}
"""Photos included in scikit-image, and what they show."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for name in PICTURES:
        shutil.copy(Path(skimage.__file__).parent / "data" / name, folder)
    return folder


@pytest.fixture(scope="module")
def engine(pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp("golden") / "index"
    summary = indexer.build([pictures], out=out)
    assert (summary.items, summary.failed) == (len(PICTURES), 0)
    return retrieval.open(out)


def test_pictures_without_captions_are_found_by_their_content(engine):
    found = {words: engine.text_to_image(words, k=1)[0].path for words in PICTURES.values()}
    right = sum(found[words] == name for name, words in PICTURES.items())
    assert found["a ginger cat"] == "chelsea.png"
    assert found["a cup of coffee"] == "coffee.png"
    assert right >= 5, found


def test_a_picture_finds_itself_and_its_mirror_image(engine, pictures):
    hits = engine.image_to_image(pictures / "chelsea.png", k=2)
    assert hits[0].path == "chelsea.png"
    assert hits[0].score == pytest.approx(1, abs=1e-3)
    mirrored = Image.open(pictures / "coffee.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert engine.image_to_image(mirrored, k=1)[0].path == "coffee.png"


def test_indexing_again_encodes_nothing(engine, pictures):
    assert indexer.build([pictures], out=engine.folder).encoded == 0


def test_photos_of_200_things_are_found_by_name(data_folder, tmp_path):
    """Only the pictures are indexed; their captions are the queries."""
    with (data_folder / "photos/manifest.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    summary = indexer.build([data_folder / "photos"], out=tmp_path / "index", holdout=0.0)
    assert summary.assets["image"] == len(rows)
    engine = retrieval.open(tmp_path / "index")
    answers = engine.search_batch([retrieval.Query(text=row["caption"]) for row in rows], to="image", k=1)
    right = sum(hits[0].path == Path(row["image"]).name for hits, row in zip(answers, rows, strict=True))
    assert right / len(rows) >= 0.75
