"""Distances between sets of clips with known values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from audiodiff.metrics.distribution import Axes, estimate, frechet, kernel, nearest, subsampled


def normal(count: int, mean=0.0, spread=1.0, dimensions: int = 4, seed: int = 0) -> np.ndarray:
    return mean + spread * np.random.default_rng(seed).standard_normal((count, dimensions))


def test_frechet_of_known_normals():
    """Between N(0, 1) and N(m, s^2) in D dimensions it is D (m^2 + (1 - s)^2)."""
    for mean, spread in ((0.0, 1.0), (1.0, 1.0), (0.0, 3.0), (-2.0, 0.5)):
        found = frechet(normal(20000, seed=1), normal(20000, mean, spread, seed=2))
        assert found == pytest.approx(4 * (mean**2 + (1 - spread) ** 2), rel=0.05, abs=0.02)


def test_frechet_is_invariant_to_rotation_and_symmetric():
    rng = np.random.default_rng(0)
    a, b = normal(500, seed=1) * [1, 2, 3, 4], normal(500, seed=2) + 1
    rotation, _ = np.linalg.qr(rng.standard_normal((4, 4)))
    assert frechet(a @ rotation, b @ rotation) == pytest.approx(frechet(a, b))
    assert frechet(a, b) == pytest.approx(frechet(b, a))
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_with_fewer_clips_than_dimensions_is_finite():
    assert np.isfinite(frechet(normal(3, dimensions=8), normal(5, dimensions=8, seed=1)))


def test_kernel_is_unbiased_and_detects_differences():
    same = [kernel(normal(40, seed=2 * k), normal(60, seed=2 * k + 1)) for k in range(400)]
    assert abs(np.mean(same)) < 3 * np.std(same) / 20  # three standard errors
    assert kernel(normal(200), normal(200, 0.5, seed=1)) > 5 * np.std(same)
    assert kernel(normal(200), normal(200, 0, 1.5, seed=1)) > 5 * np.std(same)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 5), st.integers(0, 99))
def test_nearest_is_the_nearest(count, others, dimensions, seed):
    a, b = normal(count, dimensions=dimensions, seed=seed), normal(others, dimensions=dimensions, seed=seed + 1)
    found, which = nearest(a, b)
    np.testing.assert_allclose(found, cKDTree(b).query(a)[0], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(a - b[which], axis=1), found, atol=1e-6)


def test_the_nearest_distance_of_a_copy_is_zero():
    assert nearest(normal(5), normal(50))[0].max() < 1e-6


def test_axes_whiten_the_real_clips():
    real = normal(400) @ np.diag([10.0, 1.0, 0.1, 0.0]) + 5
    axes = Axes.of(real)
    assert axes.basis.shape == (4, 3)  # the fourth has no variance
    placed = axes(real)
    np.testing.assert_allclose(placed.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(np.cov(placed.T), np.eye(3), atol=1e-9)
    assert Axes.of(real, 2).basis.shape == (4, 2)
    assert Axes.of(real[:12]).basis.shape[1] == 2  # five clips per dimension


def test_axes_need_enough_different_clips():
    with pytest.raises(ValueError, match="need 10 clips, got 9"):
        Axes.of(normal(9))
    with pytest.raises(ValueError, match="the same embedding"):
        Axes.of(np.ones((20, 3)))


def test_subsets_of_one_set_are_disjoint_and_of_equal_size():
    clips, seen = np.arange(40.0)[:, None], []

    def record(a, b):
        seen.append((a, b))
        return len(a) + len(b)

    assert (subsampled(record, clips, clips, 20, rounds=5) == 40).all()
    assert all(not set(a.ravel()) & set(b.ravel()) for a, b in seen)
    assert (subsampled(record, clips, np.arange(9.0)[:, None], 9, rounds=3) == 18).all()
    for size in (1, 21):
        with pytest.raises(ValueError, match="subsets"):
            subsampled(record, clips, clips, size)


def test_a_point_is_not_its_own_neighbor():
    a = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    np.testing.assert_allclose(nearest(a, a)[0], [1.0, np.hypot(3, 3), 1.0])
    np.testing.assert_allclose(nearest(a, a.copy())[0], 0.0)


def test_intervals_have_their_nominal_coverage():
    """For the difference of means, which is unbiased: 95 % within four standard errors."""

    def difference(a, b):
        return float(a.mean() - b.mean())

    covered = 0
    for trial in range(200):
        found = estimate(difference, normal(40, 0.7, seed=2 * trial), normal(40, seed=2 * trial + 1), 40)
        covered += found.low <= 0.7 <= found.high
    assert 0.95 - 4 * (0.95 * 0.05 / 200) ** 0.5 < covered / 200 <= 1


def test_subsets_of_all_clips_have_an_interval():
    a, b = normal(60), normal(60, 0.5, seed=1)
    found = estimate(frechet, a, b, 60)
    assert found.median == pytest.approx(frechet(a, b)) and found.low < found.median < found.high
    assert estimate(frechet, a, b, 60) == found
