"""Fusion into one vector per item: contracts of every method, and identities."""

import numpy as np
import pytest
import torch

from retrieval.arrays.norms import unit
from retrieval.errors import AlignmentError, DamagedIndexError, OptionError
from retrieval.fusion import registry
from retrieval.fusion.attention import Attention
from retrieval.fusion.base import Parts
from retrieval.fusion.gated import Gated
from retrieval.fusion.graph import Propagated
from retrieval.fusion.stored_fusion import FittedFusion
from retrieval.fusion.tensor import LowRankTensor
from retrieval.fusion.weighted import Weighted
from retrieval.search import rank_fusion
from retrieval.types import Modality

THREE = (Modality.TEXT, Modality.IMAGE, Modality.AUDIO)


def items(count=60, dimension=8, noise=(0.1, 0.4, 3.0), seed=0):
    """Return items whose parts are noisy versions of one vector; a third lack one modality, a few have only one."""
    random = np.random.default_rng(seed)
    latent = random.normal(size=(count, 1, dimension))
    rows = latent + np.array(noise)[None, :, None] * random.normal(size=(count, 3, dimension))
    vectors = unit(rows.reshape(-1, dimension).astype(np.float32)).reshape(rows.shape)
    present = np.ones((count, 3), np.bool_)
    present[::3, 2] = False
    present[:4] = np.eye(3, dtype=np.bool_)[[0, 1, 2, 0]]
    return Parts(np.where(present[:, :, None], vectors, np.float32(0)), present, THREE)


def test_registered_methods():
    assert set(registry.METHODS) == {"weighted", "concat", "graph", "attention", "gated", "tensor"}
    with pytest.raises(OptionError, match="unknown fusion 'soup'"):
        registry.fit("soup", items())


@pytest.mark.parametrize("method", registry.METHODS)
def test_fused_vectors_have_unit_norm_and_do_not_depend_on_other_items(method):
    parts = items()
    fusion = registry.fit(method, parts)
    fused = fusion(parts)
    assert (fused.dtype, len(fused)) == (np.float32, len(parts))
    np.testing.assert_allclose(np.linalg.norm(fused, axis=1), 1, atol=1e-5)
    some = np.array([0, 5, 7])
    np.testing.assert_allclose(fusion(parts.take(some)), fused[some], atol=1e-5)
    np.testing.assert_array_equal(registry.fit(method, parts)(parts), fused)


@pytest.mark.parametrize("method", registry.METHODS)
def test_a_loaded_fusion_gives_bit_identical_vectors(method, tmp_path):
    parts = items()
    fused = FittedFusion(method, THREE, registry.fit(method, parts))
    fused.save(tmp_path / "fusion")
    again = FittedFusion.load(tmp_path / "fusion")
    assert (again.method, again.modalities) == (method, THREE)
    np.testing.assert_array_equal(again.fusion(parts), fused.fusion(parts))
    single = parts.take(np.array([5]))
    own = single.keep_only(np.array([[True, False, False]]))
    np.testing.assert_array_equal(again.query_vector(single.vectors[:, 0], Modality.TEXT), again.fusion(own))
    # A modality that no item has counts as every modality.
    every = again.fusion(Parts(np.repeat(single.vectors[:, :1], 3, axis=1), np.ones((1, 3), np.bool_), THREE))
    np.testing.assert_array_equal(again.query_vector(single.vectors[:, 0], Modality.VIDEO), every)
    (tmp_path / "fusion").write_bytes((tmp_path / "fusion").read_bytes()[:-3])
    with pytest.raises(DamagedIndexError, match="not a complete fusion"):
        FittedFusion.load(tmp_path / "fusion")


@pytest.mark.parametrize("kind", [Attention, Gated, LowRankTensor])
def test_formulas_agree_in_numpy_and_pytorch(kind):
    parts, random = items(), np.random.default_rng(4)
    values = {
        name: random.normal(size=own.shape).astype(np.float32)
        for name, own in kind.start(3, 8, random).items()
    }
    tensors = {name: torch.from_numpy(own) for name, own in values.items()}
    learned = kind.formula(torch, tensors, torch.from_numpy(parts.vectors), torch.from_numpy(parts.present))
    np.testing.assert_allclose(
        kind.formula(np, values, parts.vectors, parts.present), learned, rtol=2e-4, atol=1e-5
    )


@pytest.mark.parametrize("kind", [Attention, Gated])
def test_a_learned_fusion_starts_as_the_mean(kind):
    parts = items()
    untrained = kind(kind.start(3, 8, np.random.default_rng(0)))
    np.testing.assert_allclose(untrained(parts), Weighted(np.full(3, 1 / 3))(parts), atol=1e-6)


@pytest.mark.parametrize("method", registry.METHODS)
def test_items_with_one_part_are_fused(method):
    parts = items()
    fusion = registry.fit(method, parts)
    own = parts.keep_only(np.array([[True, False, False]]) | (parts.present.sum(axis=1) == 1)[:, None])
    assert (own.present.sum(axis=1) == 1).all()
    assert np.isfinite(fusion(own)).all()


@pytest.mark.parametrize("method", registry.METHODS)
@pytest.mark.parametrize("count", [1, 2, 20])
def test_few_or_equal_items_can_be_fitted(method, count):
    few = items(max(count, 5)).take(np.arange(count))
    same = items(30).take(np.full(25, 7))
    for parts in (few, same):
        assert np.isfinite(registry.fit(method, parts)(parts)).all()


@pytest.mark.parametrize("method", registry.METHODS)
def test_a_part_finds_the_rest_of_its_item_about_as_well_as_with_the_mean(method):
    train, test = items(200, 16), items(100, 16, seed=1)
    test = test.take(test.present.all(axis=1))
    own = np.array([[True, False, False]])

    def hits(fusion):
        return (fusion(test.keep_only(own)) @ fusion(test.keep_only(~own)).T).argmax(axis=1) == np.arange(
            len(test)
        )

    mean = hits(Weighted(np.full(3, 1 / 3))).mean()
    assert hits(registry.fit(method, train)).mean() >= mean - 0.1


def test_the_noisy_modality_gets_the_smallest_weight():
    weights = registry.fit("weighted", items(200, 16)).weights
    assert weights.argmin() == 2  # the noisy one
    assert weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("at", range(3))
def test_a_single_weight_selects_its_modality(at):
    parts = items()
    parts = parts.take(parts.present.all(axis=1))
    np.testing.assert_allclose(Weighted(np.eye(3)[at])(parts), parts.vectors[:, at], atol=1e-6)


def test_weights_are_renormalised_over_the_parts_present():
    parts = items()
    alone = np.flatnonzero(parts.present.sum(axis=1) == 1)
    fused = Weighted(np.array([0.6, 0.4, 0.0]))(parts)
    np.testing.assert_allclose(fused[alone], parts.vectors[alone].sum(axis=1), atol=1e-6)
    for wrong in ([0.5, 0.6, 0], [1.5, -0.5, 0]):
        with pytest.raises(OptionError, match="sum to 1"):
            Weighted(np.array(wrong))


def test_a_known_item_is_not_its_own_neighbour():
    parts = items()
    fusion = registry.fit("graph", parts)
    fused = fusion(parts)
    random = np.random.default_rng(3)
    rounded = Parts(
        parts.vectors * (1 + 1e-6 * random.normal(size=parts.vectors.shape).astype(np.float32)),
        parts.present,
        THREE,
    )
    for at in (5, 7, 12):  # items with several parts
        others = np.arange(len(parts)) != at
        without = Propagated(fusion.known.take(others), fusion.vectors[others])
        own = np.array([at])
        np.testing.assert_allclose(without(parts.take(own))[0], fused[at], atol=1e-6)
        np.testing.assert_allclose(fusion(rounded.take(own))[0], fused[at], atol=1e-4)


def test_parts_are_joined_by_item():
    text = (np.eye(3, dtype=np.float32)[[0, 1, 2]], np.array([4, 4, 9]))
    image = (np.eye(3, dtype=np.float32)[[2]], np.array([7]))
    parts, row_items = Parts.of({Modality.TEXT: text, Modality.IMAGE: image}, THREE)
    assert row_items.tolist() == [4, 7, 9]
    assert parts.present.tolist() == [[True, False, False], [False, True, False], [True, False, False]]
    np.testing.assert_allclose(parts.vectors[0, 0], [2**-0.5, 2**-0.5, 0], atol=1e-6)
    with pytest.raises(AlignmentError, match="nothing to fuse"):
        Parts(np.zeros((1, 3, 2), np.float32), np.zeros((1, 3), np.bool_), THREE)


def test_reciprocal_ranks_follow_the_formula():
    first, second = np.array([[0.9, 0.1, 0.5]]), np.array([[0.2, np.nan, 0.3]])
    expected = [1 / 61 + 1 / 62, 1 / 63, 1 / 62 + 1 / 61]
    np.testing.assert_allclose(rank_fusion.reciprocal_ranks([first, second])[0], expected)
    tied = rank_fusion.reciprocal_ranks([np.zeros((1, 3))])[0]
    np.testing.assert_allclose(tied, [1 / 61, 1 / 62, 1 / 63])


def test_standardised_scores_do_not_depend_on_scale():
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, 4, 30))
    fused = rank_fusion.standardised_scores([first, second])
    np.testing.assert_allclose(rank_fusion.standardised_scores([7 * first + 3, second]), fused, atol=1e-9)
    np.testing.assert_allclose(
        rank_fusion.standardised_scores([first, np.ones_like(first)]),
        rank_fusion.standardised_scores([first]),
    )
    np.testing.assert_allclose(fused.mean(axis=1), 0, atol=1e-9)
    cut = np.where(first < np.median(first, axis=1, keepdims=True), np.nan, first)
    are_known, alone = ~np.isnan(cut), rank_fusion.standardised_scores([cut])
    for standardised, mask, scores in zip(alone, are_known, cut, strict=True):
        whole = (scores[mask] - scores[mask].mean()) / scores[mask].std()
        np.testing.assert_allclose(standardised[mask], whole)
        # Not the mean, which would be above half of the scores.
        np.testing.assert_allclose(standardised[~mask], whole.min())
    np.testing.assert_array_equal(rank_fusion.standardised_scores([np.full((2, 3), np.nan)]), 0)
    for wrong in ([], [first, second[:2]]):
        with pytest.raises(OptionError, match="one shape"):
            rank_fusion.standardised_scores(wrong)
