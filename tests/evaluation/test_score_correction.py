"""Hubness corrections: the formulas, and their effect on data with hubs."""

import numpy as np
import pytest

import indexer
import retrieval
from retrieval.arrays.norms import unit
from retrieval.errors import OptionError
from retrieval.evaluation import score_correction
from retrieval.evaluation.score_correction import QueryBank
from tests.helpers import toy


def rows(count, seed, dimension=6):
    return unit(np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32))


def test_csls_equals_its_formula():
    queries, gallery, bank = rows(5, 0), rows(7, 1), QueryBank(rows(30, 2), rows(9, 3))
    corrected_queries, corrected_gallery = score_correction.csls(queries, gallery, bank)
    near = np.sort(gallery @ bank.queries.T, axis=1)[:, -10:].mean(axis=1)
    np.testing.assert_allclose(
        2 * corrected_queries @ corrected_gallery.T, 2 * queries @ gallery.T - near, atol=1e-6
    )


def test_querybank_normalisation_is_the_inverted_softmax_for_queries_that_find_a_hub():
    queries, gallery, bank = rows(40, 0), rows(30, 1), QueryBank(rows(8, 2), rows(9, 3))
    corrected_queries, corrected_gallery = score_correction.querybank_normalisation(queries, gallery, bank)
    raw, bank_scores = queries @ gallery.T, gallery @ bank.queries.T
    is_hub = np.isin(np.arange(30), bank_scores.argmax(axis=0))
    active = is_hub[raw.argmax(axis=1)]
    assert 0 < active.sum() < len(active)
    normalised = np.exp(20 * raw) / np.exp(20 * bank_scores).sum(axis=1)
    np.testing.assert_allclose(
        np.exp(20 * corrected_queries @ corrected_gallery.T),
        np.where(active[:, None], normalised, np.exp(20 * raw)),
        rtol=1e-4,
    )


def test_subtracting_means_closes_the_modality_gap():
    gap = np.array([3, 0, 0, 0, 0, 0], np.float32)
    queries, gallery = unit(rows(300, 0) + gap), unit(rows(300, 1) - gap)
    corrected_queries, corrected_gallery = score_correction.subtract_means(
        queries, gallery, QueryBank(queries, gallery)
    )
    assert np.linalg.norm(corrected_queries.mean(axis=0) - corrected_gallery.mean(axis=0)) < 0.15
    np.testing.assert_allclose(np.linalg.norm(corrected_gallery, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", ["csls", "qbnorm"])
def test_correction_demotes_a_hub(name):
    random = np.random.default_rng(0)
    targets = rows(120, 0, 30)
    queries = unit(targets + 0.25 * random.normal(size=targets.shape).astype(np.float32) + 0.5)
    gallery = np.concatenate(
        [targets, unit(np.full((1, 30), 1, np.float32))]
    )  # the last row is near all queries

    def accuracy(query_vectors, gallery_vectors):
        return ((query_vectors @ gallery_vectors.T).argmax(axis=1) == np.arange(len(query_vectors))).mean()

    evaluated, bank = queries[:60], QueryBank(queries[60:], targets[60:])
    assert accuracy(evaluated, gallery) < 0.2
    assert accuracy(*score_correction.CORRECTIONS[name](evaluated, gallery, bank)) > 0.5


def test_evaluating_with_a_correction(tmp_path):
    with toy.encoders():
        indexer.build([toy.folder(tmp_path / "source")], out=tmp_path / "index", preset="toy")
        engine = retrieval.open(tmp_path / "index")
        for name in (score_correction.NO_CORRECTION, *score_correction.CORRECTIONS):
            result = retrieval.evaluate(engine, ["text-to-image"], hubness=name)
            assert result.protocol["hubness"] == name
            plain = (
                retrieval.evaluate(engine, ["text-to-image"])
                .task_results["text-to-image"]
                .prepared.vectors()[0]
            )
            vectors = result.task_results["text-to-image"].prepared.vectors()[0]
            assert (vectors.shape == plain.shape and np.array_equal(vectors, plain)) == (
                name == score_correction.NO_CORRECTION
            )
            assert result.tasks["text-to-image"]["hit@1"] >= 0.8
        with pytest.raises(OptionError, match="unknown hubness 'hub': expected one of none, centre"):
            retrieval.evaluate(engine, ["text-to-image"], hubness="hub")
        with pytest.raises(OptionError, match="leave out compare"):
            retrieval.evaluate(engine, ["text-to-image"], hubness="csls", compare=True)
