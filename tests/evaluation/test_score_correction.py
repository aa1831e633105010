"""Corrections against hubs: the formulas, and that they help where there are hubs."""

import numpy as np
import pytest

import indexer
import retrieval
from retrieval.arrays.norms import unit
from retrieval.errors import OptionError
from retrieval.evaluation import score_correction
from retrieval.evaluation.score_correction import Bank
from tests.helpers import toy


def rows(count, seed, dimension=6):
    return unit(np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32))


def test_csls_is_the_formula():
    queries, gallery, bank = rows(5, 0), rows(7, 1), Bank(rows(30, 2), rows(9, 3))
    asking, asked = score_correction.csls(queries, gallery, bank)
    near = np.sort(gallery @ bank.queries.T, axis=1)[:, -10:].mean(axis=1)
    np.testing.assert_allclose(2 * asking @ asked.T, 2 * queries @ gallery.T - near, atol=1e-6)


def test_querybank_normalisation_is_the_inverted_softmax_of_what_finds_a_hub():
    queries, gallery, bank = rows(40, 0), rows(30, 1), Bank(rows(8, 2), rows(9, 3))
    asking, asked = score_correction.querybank(queries, gallery, bank)
    raw, told = queries @ gallery.T, gallery @ bank.queries.T
    is_hub = np.isin(np.arange(30), told.argmax(axis=0))
    active = is_hub[raw.argmax(axis=1)]
    assert 0 < active.sum() < len(active)
    normalised = np.exp(20 * raw) / np.exp(20 * told).sum(axis=1)
    np.testing.assert_allclose(
        np.exp(20 * asking @ asked.T), np.where(active[:, None], normalised, np.exp(20 * raw)), rtol=1e-4
    )


def test_centring_closes_a_gap():
    gap = np.array([3, 0, 0, 0, 0, 0], np.float32)
    queries, gallery = unit(rows(300, 0) + gap), unit(rows(300, 1) - gap)
    asking, asked = score_correction.centred(queries, gallery, Bank(queries, gallery))
    assert np.linalg.norm(asking.mean(axis=0) - asked.mean(axis=0)) < 0.15
    np.testing.assert_allclose(np.linalg.norm(asked, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", ["csls", "qbnorm"])
def test_a_hub_is_put_in_its_place(name):
    random = np.random.default_rng(0)
    meant = rows(120, 0, 30)
    queries = unit(meant + 0.25 * random.normal(size=meant.shape).astype(np.float32) + 0.5)
    gallery = np.concatenate([meant, unit(np.full((1, 30), 1, np.float32))])  # the last one is near to all

    def right(asking, asked):
        return ((asking @ asked.T).argmax(axis=1) == np.arange(len(asking))).mean()

    ask, bank = queries[:60], Bank(queries[60:], meant[60:])
    assert right(ask, gallery) < 0.2
    assert right(*score_correction.CORRECTIONS[name](ask, gallery, bank)) > 0.5


def test_evaluating_with_a_correction(tmp_path):
    with toy.encoders():
        indexer.build([toy.folder(tmp_path / "source")], out=tmp_path / "index", preset="toy")
        engine = retrieval.open(tmp_path / "index")
        for name in (score_correction.NONE, *score_correction.CORRECTIONS):
            result = retrieval.evaluate(engine, ["text-to-image"], hubness=name)
            assert result.protocol["hubness"] == name
            plain = retrieval.evaluate(engine, ["text-to-image"]).outcomes["text-to-image"].trial.vectors()[0]
            asking = result.outcomes["text-to-image"].trial.vectors()[0]
            assert (asking.shape == plain.shape and np.array_equal(asking, plain)) == (
                name == score_correction.NONE
            )
            assert result.tasks["text-to-image"]["hit@1"] >= 0.8
        with pytest.raises(OptionError, match="unknown hubness 'hub': expected one of none, centre"):
            retrieval.evaluate(engine, ["text-to-image"], hubness="hub")
        with pytest.raises(OptionError, match="leave out compare"):
            retrieval.evaluate(engine, ["text-to-image"], hubness="csls", compare=True)
