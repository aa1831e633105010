"""Canonical correlations: mathematical identities and comparisons with independent implementations."""

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


def correlated_views(
    seed: int = 0, rows: int = 400, first: int = 12, second: int = 7, shared: int = 5
) -> Views:
    random = np.random.default_rng(seed)
    common = random.normal(size=(rows, shared)) * np.linspace(2, 0.5, shared)
    views = [
        common @ random.normal(size=(shared, size))
        + random.normal(size=(rows, size))
        + random.normal(size=size) * 3
        for size in (first, second)
    ]
    return views[0], views[1]


def reference_correlations(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return correlations by QR and SVD (Björck and Golub, 1973)."""
    left, right = (np.linalg.qr(view - view.mean(axis=0))[0] for view in (x, y))
    return np.linalg.svd(left.T @ right, compute_uv=False)


def test_correlations_equal_qr_and_svd() -> None:
    x, y = correlated_views()
    np.testing.assert_allclose(
        solve(LinkedCovariances.of(x, y)).correlations, reference_correlations(x, y), atol=1e-9
    )


def test_correlations_equal_scikit_learn() -> None:
    cross_decomposition = pytest.importorskip("sklearn.cross_decomposition")
    x, y = correlated_views()
    model = cross_decomposition.CCA(n_components=4, max_iter=10_000, tol=1e-14).fit(x, y)
    scores = model.transform(x, y)
    theirs = [np.corrcoef(scores[0][:, i], scores[1][:, i])[0, 1] for i in range(4)]
    np.testing.assert_allclose(solve(LinkedCovariances.of(x, y), dimension=4).correlations, theirs, atol=1e-6)


def test_float32_blocks_with_large_means_are_accurate_to_six_digits() -> None:
    x, y = (view.astype(np.float32) + np.float32(20) for view in correlated_views(rows=3000))
    ours = solve(LinkedCovariances.of(x, y)).correlations
    np.testing.assert_allclose(ours, reference_correlations(x.astype(float), y.astype(float)), atol=1e-6)


def test_identical_views_have_correlation_one() -> None:
    x, _ = correlated_views()
    np.testing.assert_allclose(solve(LinkedCovariances.of(x, x)).correlations, 1.0, atol=1e-9)


@pytest.mark.parametrize("ridge", [0.0, 0.5])
def test_variates_have_unit_variance_and_correlate_only_in_pairs(ridge: float) -> None:
    x, y = correlated_views()
    linked = LinkedCovariances.of(x, y)
    maps = solve(linked, ridge)
    for view, weights in enumerate(maps.weights):
        within = linked.within(view)
        within += ridge * np.trace(within) / len(within) * np.eye(len(within))
        np.testing.assert_allclose(weights.T @ within @ weights, np.eye(weights.shape[1]), atol=1e-8)
    cross = maps.weights[0].T @ linked.between((0, 1)) @ maps.weights[1]
    np.testing.assert_allclose(cross, np.diag(maps.correlations), atol=1e-8)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_correlations_are_invariant_to_invertible_maps(seed: int) -> None:
    x, y = correlated_views(seed)
    random = np.random.default_rng(seed + 1)
    first = np.linalg.qr(random.normal(size=(12, 12)))[0] * random.uniform(0.5, 2, 12)
    second = np.linalg.qr(random.normal(size=(7, 7)))[0] * random.uniform(0.5, 2, 7)
    rotated = solve(LinkedCovariances.of(x @ first + 1, y @ second - 2)).correlations
    np.testing.assert_allclose(rotated, solve(LinkedCovariances.of(x, y)).correlations, atol=1e-8)


@pytest.mark.parametrize("ridge", [0.0, 1.0])
def test_swapping_the_views_does_not_change_the_result(ridge: float) -> None:
    x, y = correlated_views()
    ours, theirs = solve(LinkedCovariances.of(x, y), ridge), solve(LinkedCovariances.of(y, x), ridge)
    np.testing.assert_allclose(ours.correlations, theirs.correlations, atol=1e-9)
    np.testing.assert_allclose(np.abs(ours.weights[0]), np.abs(theirs.weights[1]), atol=1e-6)


def test_a_ridge_lowers_every_correlation() -> None:
    linked = LinkedCovariances.of(*correlated_views())
    assert np.all(solve(linked, 0.1).correlations < solve(linked).correlations)


@settings(max_examples=20)
@given(size=st.integers(1, 400))
def test_block_size_does_not_matter(size: int) -> None:
    x, y = correlated_views()
    total = Covariances.empty(12, 7)
    for start in range(0, len(x), size):
        total = total.merge(Covariances.of(x[start : start + size], y[start : start + size]))
    whole = Covariances.of(x, y)
    np.testing.assert_allclose(total.scatter, whole.scatter, atol=1e-8)
    np.testing.assert_allclose(total.mean, whole.mean, atol=1e-10)
    assert total.count == whole.count


def test_covariances_equal_numpy() -> None:
    x, y = correlated_views()
    covariances = Covariances.of(x, y)
    expected = np.cov(np.hstack([x, y]), rowvar=False, bias=True)
    np.testing.assert_allclose(covariances.between(0, 1), expected[:12, 12:], atol=1e-9)


def test_removing_a_fold_equals_computing_without_it() -> None:
    x, y = correlated_views()
    remaining = Covariances.of(x, y).without(Covariances.of(x[:80], y[:80]))
    direct = Covariances.of(x[80:], y[80:])
    np.testing.assert_allclose(remaining.scatter, direct.scatter, atol=1e-8)
    np.testing.assert_allclose(remaining.mean, direct.mean, atol=1e-10)


def test_rotation_equals_rotated_views() -> None:
    x, y = correlated_views()
    linked = LinkedCovariances.of(x, y)
    axes = (linked.principal_axes(0, 5), linked.principal_axes(1, 99))
    assert axes[0].shape == (12, 5)
    assert axes[1].shape == (7, 7)
    direct = LinkedCovariances.of(x @ axes[0], y @ axes[1]).links[0, 1]
    rotated = linked.rotate(axes).links[0, 1]
    np.testing.assert_allclose(rotated.scatter, direct.scatter, atol=1e-7)
    np.testing.assert_allclose(rotated.mean, direct.mean, atol=1e-9)


def test_fewer_rows_than_columns_need_a_ridge() -> None:
    x, y = correlated_views(rows=6)
    with pytest.raises(AlignmentError, match="larger ridge"):
        solve(LinkedCovariances.of(x, y))
    assert np.all(np.isfinite(solve(LinkedCovariances.of(x, y), 0.1).weights[0]))


def test_a_constant_view_raises() -> None:
    x, y = correlated_views()
    with pytest.raises(AlignmentError, match="does not vary"):
        solve(LinkedCovariances.of(np.ones_like(x), y), 1.0)


def test_views_with_different_row_counts_raise() -> None:
    x, y = correlated_views()
    with pytest.raises(AlignmentError, match="equal numbers of rows"):
        Covariances.of(x, y[:-1])


def three_views(rows: int = 400) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    x, y = correlated_views(rows=rows)
    random = np.random.default_rng(5)
    return x, y, x[:, :4] @ random.normal(size=(4, 6)) + random.normal(size=(rows, 6))


def test_three_views_solve_the_generalised_eigenproblem() -> None:
    views = three_views()
    joint = np.cov(np.hstack(views), rowvar=False, bias=True)
    within = linalg.block_diag(*(np.cov(view, rowvar=False, bias=True) for view in views))
    expected = (linalg.eigh(joint, within, eigvals_only=True)[::-1] - 1) / 2
    maps = solve(LinkedCovariances.of(*views), dimension=6)
    np.testing.assert_allclose(maps.correlations, expected[:6], atol=1e-9)


def test_three_identical_views_have_correlation_one() -> None:
    x, _ = correlated_views()
    maps = solve(LinkedCovariances.of(x, x, x), dimension=12)
    np.testing.assert_allclose(maps.correlations, 1.0, atol=1e-9)
    np.testing.assert_allclose(np.abs(maps.weights[0]), np.abs(maps.weights[2]), atol=1e-6)


def test_views_without_common_items_correlate_through_a_third_view() -> None:
    x, y, z = three_views(4000)
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
def test_correlations_on_the_training_items_equal_those_of_the_fit(views: int) -> None:
    linked = LinkedCovariances.of(*three_views()[:views])
    maps = solve(linked, dimension=5)
    np.testing.assert_allclose(maps.correlations_on(linked), maps.correlations, atol=1e-9)


def test_a_view_with_few_pairs_gets_a_larger_ridge_and_does_not_dominate() -> None:
    random = np.random.default_rng(0)
    x, y = correlated_views(rows=2000)
    noise = random.normal(size=(30, 25))
    few = LinkedCovariances({(0, 1): Covariances.of(x, y), (1, 2): Covariances.of(y[:30], noise)})
    maps = solve(few, 0.1, dimension=5)
    alone = solve(LinkedCovariances.of(x, y), 0.1, dimension=5)
    overlap = alone.weights[0].T @ few.within(0) @ maps.weights[0]
    strength = np.linalg.norm(overlap, axis=0) / np.linalg.norm(overlap)
    assert np.linalg.matrix_rank(overlap) == 5
    assert np.all(strength > 0.1)
