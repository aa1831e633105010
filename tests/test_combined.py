"""Rankings of several terms as one: the formulas, weights, and what is left out."""

import numpy as np
import pytest

import indexer
import retrieval
from retrieval import Query
from retrieval.combined import WAYS, combined
from retrieval.errors import OptionError
from tests import toy


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    root = tmp_path_factory.mktemp("combined")
    with toy.encoders():
        indexer.build([toy.folder(root / "source")], out=root / "index", preset="toy")
        yield retrieval.open(root / "index")


def test_reciprocal_ranks_are_summed_by_weight(engine):
    red = {hit.id: hit.rank for hit in engine.search(text="red", to="image", k=100)}
    blue = {hit.id: hit.rank for hit in engine.search(text="blue", to="image", k=100)}
    hits = engine.search(text=["red", ("blue", -0.5)], to="image", k=100, combine="rrf")
    assert [hit.rank for hit in hits] == list(range(1, len(toy.COLOURS) + 1))
    for hit in hits:
        expected = 1 / (60 + red[hit.id]), -0.5 / (60 + blue[hit.id])
        assert hit.contributions == pytest.approx(expected)
        assert hit.score == pytest.approx(sum(expected))
        assert hit.percentile is None


def test_standardised_scores_are_summed(engine):
    lists = [engine.search(text=word, to="image", k=100) for word in ("red", "blue")]
    expected = np.zeros(len(toy.COLOURS))
    names = sorted(toy.COLOURS)
    for hits in lists:
        scores = np.array([hit.score for hit in sorted(hits, key=lambda hit: hit.id)])
        expected += (scores - scores.mean()) / scores.std()
    hits = engine.search(text=["red", "blue"], to="image", k=100, combine="zscore")
    assert {hit.id: hit.score for hit in hits} == pytest.approx(
        dict(zip(names, expected, strict=True)), abs=1e-5
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_lone_term_keeps_its_ranking(engine, way):
    plain = engine.search(text="red", to="image", k=5)
    assert [hit.id for hit in engine.search(text="red", to="image", k=5, combine=way)] == [
        hit.id for hit in plain
    ]


def test_named_items_are_left_out_of_every_ranking(engine):
    hits = engine.search(text="red", id="red", to="image", k=100, combine="rrf")
    assert {hit.id for hit in hits} == set(toy.COLOURS) - {"red"}


def test_what_cannot_be_combined_is_refused(engine):
    with pytest.raises(OptionError, match="unknown way to combine 'soup'"):
        engine.search(text="red", to="image", combine="soup")
    with pytest.raises(OptionError, match="say what to find"):
        combined(engine, Query(text=["red", "blue"]), way="rrf", to=None, k=3)
    with pytest.raises(OptionError, match="k must be a whole number"):
        engine.search(text="red", to="image", k=0.5, combine="rrf")
