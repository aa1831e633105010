"""Rankings of several terms as one: the formulas, weights, and what is left out."""

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


def ranking(names, *, best=1.0, modality=Modality.IMAGE):
    """Hits by these names, each a little lower than the one before."""
    return [
        Hit(rank, best - rank / 1000, name, modality, path=f"{name}.png", asset=int(name[1:]))
        for rank, name in enumerate(names, start=1)
    ]


class FixedRankings(Searcher):
    """Answers each term with what it was given, as far as that is asked for."""

    def __init__(self, **rankings):
        self.rankings = rankings
        self.depths = []

    def search_batch(self, queries, *, k, **_options):
        self.depths.append(k)
        return [self.rankings[query.terms()[0].value][:k] for query in queries]

    def previews(self, hits):
        raise NotImplementedError


def test_what_a_ranking_does_not_hold_is_no_better_than_its_last():
    names = [f"n{number}" for number in range(300)]
    # n0 is the best for "red" and not among the hundred best for "blue", where n150 is the last.
    red, blue = ["n0", "n150", *names[1:150]], [*names[200:299], "n150", "n0"]
    searcher = FixedRankings(red=ranking(red), blue=ranking(blue))
    lists = [np.array([hit.score for hit in own[:100]]) for own in (ranking(red), ranking(blue))]
    lowest = [(own.min() - own.mean()) / own.std() for own in lists]
    searcher.rankings = {name: own[:100] for name, own in searcher.rankings.items()}
    hits = {hit.id: hit for hit in searcher.search(text=["red", "blue"], to="image", k=300, combine="zscore")}
    assert hits["n0"].contributions[1] == pytest.approx(lowest[1])
    assert hits["n150"].contributions[1] == pytest.approx(lowest[1])
    assert hits["n200"].contributions[0] == pytest.approx(lowest[0])
    # To be the hundredth of what is not wanted is no reward: what is absent is no worse.
    hits = searcher.search(text=["red", ("blue", -1)], to="image", k=300, combine="zscore")
    assert [hit.id for hit in hits[:2]] == ["n0", "n150"]


@pytest.mark.parametrize("method", RANK_FUSIONS)
def test_a_long_medium_is_one_hit_whichever_of_its_segments_each_term_finds(method):
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


def test_captions_of_one_item_stay_apart():
    hits = [
        Hit(rank, 1 / rank, "n1", Modality.TEXT, path="n1.txt", text=text, asset=rank)
        for rank, text in ((1, "red"), (2, "blue"))
    ]
    found = FixedRankings(red=hits, blue=hits[::-1]).search(text=["red", "blue"], to="text", combine="rrf")
    assert sorted(hit.text for hit in found) == ["blue", "red"]


@pytest.mark.parametrize("method", RANK_FUSIONS)
def test_a_lone_term_keeps_its_ranking(engine, method):
    plain = engine.search(text="red", to="image", k=5)
    assert [hit.id for hit in engine.search(text="red", to="image", k=5, combine=method)] == [
        hit.id for hit in plain
    ]


@pytest.mark.parametrize("method", RANK_FUSIONS)
def test_what_is_not_wanted_finds_nothing_of_its_own(method):
    searcher = FixedRankings(red=ranking(["n1", "n2", "n3"]), blue=ranking(["n3", "n4", "n5"]))
    hits = searcher.search(text=["red", ("blue", -1)], to="image", combine=method)
    assert [hit.id for hit in hits] == ["n1", "n2", "n3"]
    least = searcher.search(text=("blue", -1), to="image", combine=method)
    assert [hit.id for hit in least] == ["n5", "n4", "n3"]  # the least of it first, where nothing is wanted


def test_named_items_are_left_out_of_every_ranking(engine):
    hits = engine.search(text="red", id="red", to="image", k=100, combine="rrf")
    assert {hit.id for hit in hits} == set(toy.COLOURS) - {"red"}


def test_what_cannot_be_combined_is_refused(engine):
    with pytest.raises(OptionError, match="unknown way to combine 'soup'"):
        engine.search(text="red", to="image", combine="soup")
    with pytest.raises(OptionError, match="say what to find"):
        search_and_fuse(engine, Query(text=["red", "blue"]), method="rrf", to=None, k=3)
    for k in (0.5, -1, 0, True):
        with pytest.raises(OptionError, match="k must be a whole number of at least 1"):
            engine.search(text="red", to="image", k=k, combine="rrf")


def test_as_many_are_joined_as_a_server_answers_and_never_fewer_than_are_wanted():
    searcher = FixedRankings(red=ranking([f"n{number}" for number in range(2000)]))
    for k in (1, 10, np.int64(50), 101, 1000, 1500):
        assert len(searcher.search(text="red", to="image", k=k, combine="rrf")) == k
    assert searcher.depths == [100, 100, 500, 1000, 1000, 1500]
    assert MAX_DEPTH <= MAX_K


def test_a_server_is_asked_for_no_more_than_it_answers(tmp_path):
    with toy.encoders():
        indexer.build([toy.folder(tmp_path / "source")], out=tmp_path / "index", preset="toy")
        with served.running(tmp_path / "index") as address, Client(address) as client:
            found = client.search(text=["red", "blue"], to="image", k=101, combine="rrf")
    assert {hit.id for hit in found} == set(toy.COLOURS)
