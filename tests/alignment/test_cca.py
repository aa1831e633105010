"""Canonical correlations by identity, and against independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import linalg

from retrieval.alignment.cca.covariances import Covariances
from retrieval.alignment.cca.linked_covariances import LinkedCovariances
from retrieval.alignment.cca.solver import solve
from retrieval.errors import AlignmentError

Views = tuple[NDArray[np.float64], NDArray[np.float64]]


def correlated(seed: int = 0, rows: int = 400, first: int = 12, second: int = 7, shared: int = 5) -> Views:
    random = np.random.default_rng(seed)
    common = random.normal(size=(rows, shared)) * np.linspace(2, 0.5, shared)
    views = [
        common @ random.normal(size=(shared, size))
        + random.normal(size=(rows, size))
        + random.normal(size=size) * 3
        for size in (first, second)
    ]
    return views[0], views[1]


def reference(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlations by QR and SVD (Björck and Golub, 1973)."""
    left, right = (np.linalg.qr(view - view.mean(axis=0))[0] for view in (x, y))
    return np.linalg.svd(left.T @ right, compute_uv=False)


def test_correlations_equal_qr_and_svd() -> None:
    x, y = correlated()
    np.testing.assert_allclose(solve(LinkedCovariances.of(x, y)).correlations, reference(x, y), atol=1e-9)


def test_correlations_equal_scikit_learn() -> None:
    cross_decomposition = pytest.importorskip("sklearn.cross_decomposition")
    x, y = correlated()
    model = cross_decomposition.CCA(n_components=4, max_iter=10_000, tol=1e-14).fit(x, y)
    scores = model.transform(x, y)
    theirs = [np.corrcoef(scores[0][:, i], scores[1][:, i])[0, 1] for i in range(4)]
    np.testing.assert_allclose(solve(LinkedCovariances.of(x, y), dimension=4).correlations, theirs, atol=1e-6)


def test_float32_blocks_keep_six_digits_far_from_the_origin() -> None:
    x, y = (view.astype(np.float32) + np.float32(20) for view in correlated(rows=3000))
    ours = solve(LinkedCovariances.of(x, y)).correlations
    np.testing.assert_allclose(ours, reference(x.astype(float), y.astype(float)), atol=1e-6)


def test_identical_views_correlate_fully() -> None:
    x, _ = correlated()
    np.testing.assert_allclose(solve(LinkedCovariances.of(x, x)).correlations, 1.0, atol=1e-9)


@pytest.mark.parametrize("ridge", [0.0, 0.5])
def test_variates_are_white_and_correlate_in_pairs(ridge: float) -> None:
    x, y = correlated()
    linked = LinkedCovariances.of(x, y)
    maps = solve(linked, ridge)
    for view, weights in enumerate(maps.weights):
        within = linked.within(view)
        within += ridge * np.trace(within) / len(within) * np.eye(len(within))
        np.testing.assert_allclose(weights.T @ within @ weights, np.eye(weights.shape[1]), atol=1e-8)
    across = maps.weights[0].T @ linked.between((0, 1)) @ maps.weights[1]
    np.testing.assert_allclose(across, np.diag(maps.correlations), atol=1e-8)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_invertible_maps_of_the_views_change_nothing(seed: int) -> None:
    x, y = correlated(seed)
    random = np.random.default_rng(seed + 1)
    first = np.linalg.qr(random.normal(size=(12, 12)))[0] * random.uniform(0.5, 2, 12)
    second = np.linalg.qr(random.normal(size=(7, 7)))[0] * random.uniform(0.5, 2, 7)
    turned = solve(LinkedCovariances.of(x @ first + 1, y @ second - 2)).correlations
    np.testing.assert_allclose(turned, solve(LinkedCovariances.of(x, y)).correlations, atol=1e-8)


@pytest.mark.parametrize("ridge", [0.0, 1.0])
def test_swapped_views_give_the_same(ridge: float) -> None:
    x, y = correlated()
    ours, theirs = solve(LinkedCovariances.of(x, y), ridge), solve(LinkedCovariances.of(y, x), ridge)
    np.testing.assert_allclose(ours.correlations, theirs.correlations, atol=1e-9)
    np.testing.assert_allclose(np.abs(ours.weights[0]), np.abs(theirs.weights[1]), atol=1e-6)


def test_a_ridge_lowers_every_correlation() -> None:
    linked = LinkedCovariances.of(*correlated())
    assert np.all(solve(linked, 0.1).correlations < solve(linked).correlations)


@settings(max_examples=20)
@given(size=st.integers(1, 400))
def test_block_size_does_not_matter(size: int) -> None:
    x, y = correlated()
    total = Covariances.empty(12, 7)
    for start in range(0, len(x), size):
        total = total.merge(Covariances.of(x[start : start + size], y[start : start + size]))
    whole = Covariances.of(x, y)
    np.testing.assert_allclose(total.scatter, whole.scatter, atol=1e-8)
    np.testing.assert_allclose(total.mean, whole.mean, atol=1e-10)
    assert total.count == whole.count


def test_covariances_equal_numpy() -> None:
    x, y = correlated()
    covariances = Covariances.of(x, y)
    expected = np.cov(np.hstack([x, y]), rowvar=False, bias=True)
    np.testing.assert_allclose(covariances.between(0, 1), expected[:12, 12:], atol=1e-9)


def test_without_a_fold_equals_computing_the_rest() -> None:
    x, y = correlated()
    rest = Covariances.of(x, y).without(Covariances.of(x[:80], y[:80]))
    direct = Covariances.of(x[80:], y[80:])
    np.testing.assert_allclose(rest.scatter, direct.scatter, atol=1e-8)
    np.testing.assert_allclose(rest.mean, direct.mean, atol=1e-10)


def test_rotation_equals_rotated_views() -> None:
    x, y = correlated()
    linked = LinkedCovariances.of(x, y)
    axes = (linked.principal_axes(0, 5), linked.principal_axes(1, 99))
    assert axes[0].shape == (12, 5)
    assert axes[1].shape == (7, 7)
    direct = LinkedCovariances.of(x @ axes[0], y @ axes[1]).links[0, 1]
    turned = linked.rotate(axes).links[0, 1]
    np.testing.assert_allclose(turned.scatter, direct.scatter, atol=1e-7)
    np.testing.assert_allclose(turned.mean, direct.mean, atol=1e-9)


def test_too_few_rows_need_a_ridge() -> None:
    x, y = correlated(rows=6)
    with pytest.raises(AlignmentError, match="larger ridge"):
        solve(LinkedCovariances.of(x, y))
    assert np.all(np.isfinite(solve(LinkedCovariances.of(x, y), 0.1).weights[0]))


def test_a_view_that_does_not_vary_is_refused() -> None:
    x, y = correlated()
    with pytest.raises(AlignmentError, match="does not vary"):
        solve(LinkedCovariances.of(np.ones_like(x), y), 1.0)


def test_views_of_different_lengths_are_refused() -> None:
    x, y = correlated()
    with pytest.raises(AlignmentError, match="equal numbers of rows"):
        Covariances.of(x, y[:-1])


def three(rows: int = 400) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    x, y = correlated(rows=rows)
    random = np.random.default_rng(5)
    return x, y, x[:, :4] @ random.normal(size=(4, 6)) + random.normal(size=(rows, 6))


def test_three_views_solve_the_generalised_eigenproblem() -> None:
    views = three()
    joint = np.cov(np.hstack(views), rowvar=False, bias=True)
    own = linalg.block_diag(*(np.cov(view, rowvar=False, bias=True) for view in views))
    expected = (linalg.eigh(joint, own, eigvals_only=True)[::-1] - 1) / 2
    maps = solve(LinkedCovariances.of(*views), dimension=6)
    np.testing.assert_allclose(maps.correlations, expected[:6], atol=1e-9)


def test_three_identical_views_correlate_fully() -> None:
    x, _ = correlated()
    maps = solve(LinkedCovariances.of(x, x, x), dimension=12)
    np.testing.assert_allclose(maps.correlations, 1.0, atol=1e-9)
    np.testing.assert_allclose(np.abs(maps.weights[0]), np.abs(maps.weights[2]), atol=1e-6)


def test_views_without_common_items_agree_through_a_third() -> None:
    x, y, z = three(4000)
    linked = LinkedCovariances(
        {(0, 1): Covariances.of(x[:2000], y[:2000]), (1, 2): Covariances.of(y[2000:], z[2000:])}
    )
    maps = solve(linked, 0.01, dimension=2)
    first, last = (
        (view - center) @ weights
        for view, center, weights in zip((x, z), maps.centers[::2], maps.weights[::2], strict=True)
    )
    assert all(np.corrcoef(first[:, i], last[:, i])[0, 1] > 0.5 for i in range(2))
    assert np.all(maps.correlations <= 1.0)


@pytest.mark.parametrize("views", [2, 3])
def test_correlations_elsewhere_are_those_of_the_fit_on_its_own_items(views: int) -> None:
    linked = LinkedCovariances.of(*three()[:views])
    maps = solve(linked, dimension=5)
    np.testing.assert_allclose(maps.correlations_on(linked), maps.correlations, atol=1e-9)


def test_a_view_of_few_pairs_is_held_back_by_a_larger_ridge() -> None:
    random = np.random.default_rng(0)
    x, y = correlated(rows=2000)
    noise = random.normal(size=(30, 25))
    few = LinkedCovariances({(0, 1): Covariances.of(x, y), (1, 2): Covariances.of(y[:30], noise)})
    maps = solve(few, 0.1, dimension=5)
    alone = solve(LinkedCovariances.of(x, y), 0.1, dimension=5)
    turned = alone.weights[0].T @ few.within(0) @ maps.weights[0]
    strength = np.linalg.norm(turned, axis=0) / np.linalg.norm(turned)
    assert np.linalg.matrix_rank(turned) == 5
    assert np.all(strength > 0.1)
