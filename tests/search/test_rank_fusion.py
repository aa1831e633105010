"""Rank fusion of several terms: the formulas, weights, and excluded hits."""

from dataclasses import replace

import numpy as np
import pytest

import indexer
import retrieval
from retrieval import Client, Hit, Query
from retrieval.errors import OptionError
from retrieval.search.rank_fusion import MAX_DEPTH, RANK_FUSIONS, search_and_fuse
from retrieval.search.searcher import Searcher
from retrieval.server.api_models import MAX_K
from retrieval.types import Modality
from tests.helpers import served, toy


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    root = tmp_path_factory.mktemp("combined")
    with toy.encoders():
        indexer.build([toy.folder(root / "source")], out=root / "index", preset="toy")
        yield retrieval.open(root / "index")


def test_rrf_sums_weighted_reciprocal_ranks(engine):
    red = {hit.id: hit.rank for hit in engine.search(text="red", to="image", k=100)}
    blue = {hit.id: hit.rank for hit in engine.search(text="blue", to="image", k=100)}
    hits = engine.search(text=["red", ("blue", -0.5)], to="image", k=100, combine="rrf")
    assert [hit.rank for hit in hits] == list(range(1, len(toy.COLOURS) + 1))
    for hit in hits:
        expected = 1 / (60 + red[hit.id]), -0.5 / (60 + blue[hit.id])
        assert hit.contributions == pytest.approx(expected)
        assert hit.score == pytest.approx(sum(expected))
        assert hit.percentile is None


def test_zscore_sums_standardised_scores(engine):
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


def ranking(names, *, best=1.0, modality=Modality.IMAGE):
    """Return hits with these names and descending scores."""
    return [
        Hit(rank, best - rank / 1000, name, modality, path=f"{name}.png", asset=int(name[1:]))
        for rank, name in enumerate(names, start=1)
    ]


class FixedRankings(Searcher):
    """Returns a fixed ranking for each term, up to the requested depth."""

    def __init__(self, **rankings):
        self.rankings = rankings
        self.depths = []

    def search_batch(self, queries, *, k, **_options):
        self.depths.append(k)
        return [self.rankings[query.terms()[0].value][:k] for query in queries]

    def previews(self, hits):
        raise NotImplementedError


def test_missing_hit_scores_no_better_than_the_last_of_the_ranking():
    names = [f"n{number}" for number in range(300)]
    # n0 is the best for "red" and not among the hundred best for "blue", where n150 is the last.
    red, blue = ["n0", "n150", *names[1:150]], [*names[200:299], "n150", "n0"]
    searcher = FixedRankings(red=ranking(red), blue=ranking(blue))
    lists = [np.array([hit.score for hit in hits[:100]]) for hits in (ranking(red), ranking(blue))]
    lowest = [(scores.min() - scores.mean()) / scores.std() for scores in lists]
    searcher.rankings = {name: hits[:100] for name, hits in searcher.rankings.items()}
    hits = {hit.id: hit for hit in searcher.search(text=["red", "blue"], to="image", k=300, combine="zscore")}
    assert hits["n0"].contributions[1] == pytest.approx(lowest[1])
    assert hits["n150"].contributions[1] == pytest.approx(lowest[1])
    assert hits["n200"].contributions[0] == pytest.approx(lowest[0])
    # The last rank for a negative term is no advantage: a missing hit gets the same score.
    hits = searcher.search(text=["red", ("blue", -1)], to="image", k=300, combine="zscore")
    assert [hit.id for hit in hits[:2]] == ["n0", "n150"]


@pytest.mark.parametrize("method", RANK_FUSIONS)
def test_segments_of_a_medium_found_by_different_terms_are_one_hit(method):
    short, other = ranking(["n8", "n9"], modality=Modality.VIDEO)
    long = Hit(1, 2.0, "long", Modality.VIDEO, path="long.mp4")
    rain, train = (
        replace(long, start=start, end=start + 10, asset=at) for at, start in ((1, 0.0), (2, 10.0))
    )
    searcher = FixedRankings(rain=[rain, short, other], train=[train, other, short])
    hits = searcher.search(text=["rain", "train"], to="video", combine=method)
    assert [hit.id for hit in hits] == ["long", "n8", "n9"]
    assert (hits[0].start, hits[0].asset) == (0.0, 1)
    [alone] = searcher.search(text="rain", to="video", k=1, combine=method)
    assert hits[0].contributions == pytest.approx([alone.score] * 2)


def test_captions_of_one_item_stay_separate():
    hits = [
        Hit(rank, 1 / rank, "n1", Modality.TEXT, path="n1.txt", text=text, asset=rank)
        for rank, text in ((1, "red"), (2, "blue"))
    ]
    found = FixedRankings(red=hits, blue=hits[::-1]).search(text=["red", "blue"], to="text", combine="rrf")
    assert sorted(hit.text for hit in found) == ["blue", "red"]


@pytest.mark.parametrize("method", RANK_FUSIONS)
def test_a_single_term_keeps_its_ranking(engine, method):
    plain = engine.search(text="red", to="image", k=5)
    assert [hit.id for hit in engine.search(text="red", to="image", k=5, combine=method)] == [
        hit.id for hit in plain
    ]


@pytest.mark.parametrize("method", RANK_FUSIONS)
def test_negative_terms_add_no_hits_unless_all_terms_are_negative(method):
    searcher = FixedRankings(red=ranking(["n1", "n2", "n3"]), blue=ranking(["n3", "n4", "n5"]))
    hits = searcher.search(text=["red", ("blue", -1)], to="image", combine=method)
    assert [hit.id for hit in hits] == ["n1", "n2", "n3"]
    least = searcher.search(text=("blue", -1), to="image", combine=method)
    assert [hit.id for hit in least] == ["n5", "n4", "n3"]  # lowest scores first if all terms are negative


def test_query_items_are_left_out_of_every_ranking(engine):
    hits = engine.search(text="red", id="red", to="image", k=100, combine="rrf")
    assert {hit.id for hit in hits} == set(toy.COLOURS) - {"red"}


def test_invalid_arguments_are_refused(engine):
    with pytest.raises(OptionError, match="unknown combine method 'soup'"):
        engine.search(text="red", to="image", combine="soup")
    with pytest.raises(OptionError, match="say what to find"):
        search_and_fuse(engine, Query(text=["red", "blue"]), method="rrf", to=None, k=3)
    for k in (0.5, -1, 0, True):
        with pytest.raises(OptionError, match="k must be a whole number of at least 1"):
            engine.search(text="red", to="image", k=k, combine="rrf")


def test_depth_of_fused_rankings():
    searcher = FixedRankings(red=ranking([f"n{number}" for number in range(2000)]))
    for k in (1, 10, np.int64(50), 101, 1000, 1500):
        assert len(searcher.search(text="red", to="image", k=k, combine="rrf")) == k
    assert searcher.depths == [100, 100, 500, 1000, 1000, 1500]
    assert MAX_DEPTH <= MAX_K


def test_fusion_requests_no_more_hits_than_a_server_returns(tmp_path):
    with toy.encoders():
        indexer.build([toy.folder(tmp_path / "source")], out=tmp_path / "index", preset="toy")
        with served.running(tmp_path / "index") as address, Client(address) as client:
            found = client.search(text=["red", "blue"], to="image", k=101, combine="rrf")
    assert {hit.id for hit in found} == set(toy.COLOURS)
