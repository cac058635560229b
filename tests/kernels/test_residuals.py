from __future__ import annotations

import numba
import numpy as np
import pytest
import reference

from tfvlad_kernels import assign, cluster_sums
from tfvlad_kernels.residuals import add_residuals


def test_add_residuals_by_hand() -> None:
    # From the second feature on: (5, 1) - (4, 0) and (2, 2) - (4, 0) for cluster 1, on top of (7, 7); (1, 3) - (0, 1)
    # for cluster 2, whose first feature it is; nothing for cluster 0.
    features = np.array([[9, 9], [5, 1], [1, 3], [2, 2]], np.float32)
    centroids = np.array([[0, 0], [4, 0], [0, 1]], np.float32)
    vlad, counts = np.full((3, 2), 7, np.float32), np.array([1, 1, 0])
    add_residuals(features, 1, centroids, np.array([1, 2, 1], np.int32), vlad, counts)
    assert vlad.tolist() == [[7, 7], [6, 10], [1, 2]]
    assert counts.tolist() == [1, 3, 1]


def test_cluster_sums_by_hand() -> None:
    # 1 and 2 belong to 0, 9 and 14 to 10, nothing to 100; squared distances 1 + 4 + 1 + 16.
    counts, sums, inertia = cluster_sums(np.array([[1.0], [9.0], [14.0], [2.0]]), np.array([[0.0], [10.0], [100.0]]))
    assert counts.tolist() == [2, 2, 0]
    assert sums.tolist() == [[3], [23], [0]]
    assert sums.dtype == np.float64
    assert inertia == 22


@pytest.mark.parametrize("length", [1, 1023, 1025, 70_000])
def test_cluster_sums_match_the_assignment(length: int) -> None:
    generator = np.random.default_rng(length)
    features = generator.standard_normal((length, 3), dtype=np.float32)
    centroids = generator.standard_normal((18, 3), dtype=np.float32)
    counts, sums, inertia = cluster_sums(features, centroids)
    labels = assign(features, centroids)
    np.testing.assert_array_equal(counts, np.bincount(labels, minlength=18))
    for k in range(18):
        np.testing.assert_allclose(sums[k], features[labels == k].sum(axis=0, dtype=np.float64), rtol=1e-12, atol=1e-9)
    difference = features.astype(np.float64) - centroids[labels]
    assert inertia == pytest.approx(np.sum(difference**2), rel=1e-12)


def test_cluster_sums_of_no_features() -> None:
    counts, sums, inertia = cluster_sums(np.empty((0, 2)), np.ones((3, 2)))
    assert (counts.sum(), sums.sum(), inertia) == (0, 0, 0)


def test_cluster_sums_are_the_same_on_any_number_of_threads(thread_counts: range) -> None:
    generator = np.random.default_rng(0)
    features = generator.standard_normal((5_000, 20), dtype=np.float32)
    centroids = generator.standard_normal((9, 20), dtype=np.float32)
    results = []
    for threads in thread_counts:
        numba.set_num_threads(threads)
        results.append(cluster_sums(features, centroids))
    for counts, sums, inertia in results[1:]:
        assert counts.tobytes() == results[0][0].tobytes()
        assert sums.tobytes() == results[0][1].tobytes()
        assert inertia == results[0][2]


def test_lloyd_never_raises_the_inertia() -> None:
    generator = np.random.default_rng(0)
    features = generator.standard_normal((400, 5), dtype=np.float32)
    centroids = features[:7]
    inertias = []
    for _ in range(6):
        counts, sums, inertia = cluster_sums(features, centroids)
        inertias.append(inertia)
        centroids = (sums / counts[:, np.newaxis]).astype(np.float32)
    assert inertias == sorted(inertias, reverse=True)
    assert inertias[-1] < inertias[0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_cluster_sums_refuse_what_is_not_finite(bad: float) -> None:
    features = np.zeros((2_000, 2))
    features[1_500, 1] = bad
    with pytest.raises(
        ValueError, match="features must be finite, got NaN or Inf in 1 of 2000 rows, first in row 1500"
    ):
        cluster_sums(features, np.eye(2))


def test_reference_by_hand() -> None:
    # Cluster 0 gets (1, 0) and (0, 2), cluster 1 gets (5, 4) - (4, 4); cluster 2, equal to cluster 1, nothing.
    features, centroids = [[1, 0], [5, 4], [0, 2]], [[0, 0], [4, 4], [4, 4]]
    assert reference.nearest(features, centroids) == [0, 1, 0]
    assert reference.residual_sums(features, centroids).tolist() == [[1, 2], [1, 0], [0, 0]]
    five, two = 5**0.5, 2**0.5
    np.testing.assert_allclose(reference.vlad(features, centroids), [1 / five / two, 2 / five / two, 1 / two, 0, 0, 0])
