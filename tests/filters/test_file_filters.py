"""Filters by properties of an item's files: path, modality and time of modification."""

import os

import pytest

import indexer
import retrieval
from retrieval.errors import ExpressionError
from tests.helpers import toy


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    root = tmp_path_factory.mktemp("filters")
    toy.folder(root / "pictures" / "new")
    toy.folder(root / "pictures" / "old", captions=False)
    for file in (root / "pictures" / "old").iterdir():
        os.utime(file, (1_000_000_000, 1_000_000_000))  # 2001-09-09 01:46:40 UTC
    with toy.encoders():
        indexer.build([root / "pictures"], out=root / "index")
        yield retrieval.open(root / "index")


@pytest.mark.parametrize(
    ("where", "folders"),
    [
        ("path glob 'new/*'", {"new"}),
        ("path like 'OLD/%'", {"old"}),
        ("not path glob 'new/*'", {"old"}),
        ("path glob '*.png'", {"new", "old"}),
        ("path glob '*.jpg'", set()),
        ("modality = 'text'", {"new"}),
        ("not modality = 'text'", {"old"}),
        ("modality in ('image', 'video')", {"new", "old"}),
        ("modified < '2002'", {"old"}),
        ("modified = '2001-09-09 01:46:40'", {"old"}),
        ("modified >= '2010-01-01' and modality = 'image'", {"new"}),
    ],
)
def test_items_are_found_by_their_files(engine, where, folders):
    hits = engine.search(text="red", to="image", k=100, where=where)
    assert {hit.id.split("/")[0] for hit in hits} == folders
    assert len(hits) == len(folders) * len(toy.COLOURS)


def test_captions_are_found_by_pictures_of_the_same_item(engine):
    assert len(engine.search(text="red", to="text", k=100, where="path glob 'new/*.png'")) == len(toy.COLOURS)


def test_metadata_of_the_same_name_takes_precedence(tmp_path):
    toy.folder(tmp_path / "pictures")
    rows = [f"{name},pictures/{name}.png,{number}" for number, name in enumerate(toy.COLOURS)]
    (tmp_path / "all.csv").write_text("\n".join(["id,image,path", *rows]))
    with toy.encoders():
        indexer.build([tmp_path / "all.csv"], out=tmp_path / "index")
        hits = retrieval.open(tmp_path / "index").search(text="red", to="image", k=9, where="path < 2")
    assert {hit.metadata["path"] for hit in hits} == {0, 1}


def test_an_unknown_column_is_refused(engine):
    with pytest.raises(ExpressionError, match="unknown column 'size'"):
        engine.search(text="red", to="image", where="size > 3")
