"""Several indexes searched as one: the formulas, identity of assets, and refused arguments."""

import json

import numpy as np
import pytest

import indexer
import retrieval
from indexer.cli.main import run
from retrieval import Query, Several
from retrieval.errors import OptionError
from retrieval.search.rank_fusion import RANK_FUSIONS
from retrieval.types import ITEM, Modality
from tests.helpers import toy


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("several")
    toy.folder(root / "source")
    more = toy.paint(root / "more/brown.png", (128, 64, 0))
    more.with_suffix(".txt").write_text("Something dark orange.\n", encoding="utf-8")
    with toy.encoders():
        indexer.build([root / "source"], out=root / "one", preset="toy", fuse="weighted")
        both = [root / "more", root / "source"]  # so that asset numbers differ
        indexer.build(both, out=root / "other", preset="toy", align="procrustes", fuse="concat")
        yield root


@pytest.fixture(scope="module")
def one(root):
    return retrieval.open(root / "one")


@pytest.fixture(scope="module")
def other(root):
    return retrieval.open(root / "other")


def test_rrf_sums_weighted_reciprocal_ranks_of_the_indexes(one, other):
    ranks = [{hit.id: hit.rank for hit in engine.text_to_image("orange", k=100)} for engine in (one, other)]
    assert list(ranks[0]) != [
        name for name in ranks[1] if name != "brown"
    ]  # otherwise the fusion would not be tested
    hits = Several([one, other], weights=[1, 0.5]).text_to_image("orange", k=100)
    assert {hit.id for hit in hits} == {*toy.COLOURS, "brown"}
    for hit in hits:
        expected = sum(
            weight / (60 + by_id[hit.id])
            for weight, by_id in zip((1, 0.5), ranks, strict=True)
            if hit.id in by_id
        )
        assert hit.score == pytest.approx(expected)
        assert (hit.percentile, hit.contributions) == (None, None)
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_zscore_sums_standardised_scores_of_the_indexes(one, other):
    total = dict.fromkeys(toy.COLOURS, 0.0)
    for engine in (one, other):
        found = engine.text_to_image("orange", k=100, where="path glob '*'")
        scores = np.array([hit.score for hit in found])
        for hit in found:
            total[hit.id] = total.get(hit.id, 0.0) + (hit.score - scores.mean()) / scores.std()
    hits = Several([one, other], combine="zscore").text_to_image("orange", k=100)
    known = {hit.id: hit.score for hit in hits if hit.id != "brown"}
    assert known == pytest.approx({name: total[name] for name in toy.COLOURS}, abs=1e-6)


@pytest.mark.parametrize("method", RANK_FUSIONS)
@pytest.mark.parametrize("to", ["text", "image", "any", ITEM])
def test_a_single_index_keeps_its_order(one, method, to):
    alone = one.search(text="red", to=to, k=5)
    assert [
        (hit.id, hit.modality) for hit in Several([one], combine=method).search(text="red", to=to, k=5)
    ] == [(hit.id, hit.modality) for hit in alone]


def test_shared_assets_are_one_hit_taken_from_the_first_index(one, other):
    expected = {hit.id: hit for hit in one.text_to_text("red", k=100)}
    hits = Several([one, other]).text_to_text("red", k=100)
    assert len(hits) == len(toy.COLOURS) + 1
    for hit in hits:
        if hit.id != "brown":
            assert (hit.asset, hit.text) == (expected[hit.id].asset, expected[hit.id].text)


def test_rankings_of_terms_can_be_fused_as_well(one, other):
    several = Several([one, other])
    lists = [{hit.id: hit.rank for hit in several.text_to_image(word, k=100)} for word in ("red", "blue")]
    for hit in several.search(text=["red", "blue"], to="image", k=100, combine="rrf"):
        assert hit.score == pytest.approx(sum(1 / (60 + ranks[hit.id]) for ranks in lists))


def test_filters_and_batches(one, other):
    several = Several([one, other])
    queries = [Query(text="red"), Query(id="blue")]
    where = "path in ('blue.png', 'pink.png', 'brown.png')"
    assert several.search_batch(queries, to="image", where=where) == [
        several.search(text="red", to="image", where=where),
        several.search(id="blue", to="image", where=where),
    ]
    assert {hit.id for hit in several.search(text="red", to="image", where=where)} == {
        "blue",
        "pink",
        "brown",
    }
    assert several.search_batch([], to="image") == []
    assert several.text_to_image("red", min_percentile=100) == []


def test_previews_come_from_an_index_that_contains_the_hit(one, other):
    hits = Several([one, other]).text_to_image("red", k=100)
    previews = Several([one, other]).previews(hits)
    assert [(preview.id, preview.path) for preview in previews] == [(hit.id, hit.path) for hit in hits]
    assert all(preview.picture for preview in previews)
    assert "data:image" in hits._repr_html_()
    alone = Several([other]).previews([hit for hit in hits if hit.id == "brown"])
    assert [preview.id for preview in alone] == ["brown"]
    with pytest.raises(OptionError, match="none of these indexes contains the hit 'brown'"):
        Several([one]).previews([hit for hit in hits if hit.id == "brown"])


def test_invalid_arguments_are_refused(one, other):
    with pytest.raises(OptionError, match="space of one index"):
        Several([one, other]).search(vector=one.encode(text="red")[0], to="image")
    with pytest.raises(OptionError, match="unknown combine method 'soup'"):
        Several([one], combine="soup")
    for engines, weights in (([], None), ([one], [1, 2]), ([one], [0]), ([one], [float("nan")])):
        with pytest.raises(OptionError, match="a weight above 0 for each"):
            Several(engines, weights=weights)


def test_command_searches_another_index_with_also(root, one, other, capsys):
    arguments = ["search", str(root / "one"), "--also", str(root / "other"), "--text", "red", "--to", "image"]
    assert run([*arguments, "--json", "--html", str(root / "page.html")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == [hit.as_dict() for hit in Several([one, other]).text_to_image("red")]
    assert (root / "page.html").read_text().count("data:image") == len(found)
    assert run([*arguments, "--combine", "zscore", "--json"]) == 0
    scores = [hit["score"] for hit in json.loads(capsys.readouterr().out)]
    several = Several([one, other], combine="zscore")
    assert scores == [hit.score for hit in several.search(text="red", to="image", combine="zscore")]
    for wrong, message in (
        (["--explain-plan"], "leave one out"),
        (["--also", str(root / "nowhere")], "does not exist"),
        (["--combine", "soup"], "unknown combine method"),
    ):
        assert run([*arguments, *wrong]) == 2
        assert message in capsys.readouterr().err


def test_hits_of_one_item_in_two_modalities_stay_separate(one, other):
    hits = Several([one, other]).search(text="red", to="any", k=100)
    assert {hit.modality for hit in hits} == {Modality.TEXT, Modality.IMAGE}
    assert len({(hit.id, hit.modality) for hit in hits}) == len(hits)
