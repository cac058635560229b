"""The feature sample is fair, bounded and seeded; k-means finds what is there, on any number of threads."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from tfvlad.encoding.codebook import FeatureSample, fit_codebook, images_to_sample
from tfvlad.errors import ConfigError


def test_every_image_gives_the_same_number_and_the_bound_holds() -> None:
    sample = FeatureSample(images=10, samples=65, seed=0)  # a share of ceil(65 / 10) = 7
    for image in range(10):
        sample.add(image, np.full((100 if image else 3, 2), image, np.float32))
    counts = np.bincount(sample.features()[:, 0].astype(int), minlength=10)
    assert counts.sum() == 65  # of 3 + 9 * 7 = 66 one is dropped
    assert counts[0] in (2, 3)
    assert set(counts[1:]) <= {6, 7}


def test_a_sample_does_not_depend_on_the_order_of_arrival() -> None:
    images = np.random.default_rng(0).normal(size=(6, 50, 3)).astype(np.float32)
    drawn = []
    for order in (range(6), reversed(range(6))):
        sample = FeatureSample(6, 40, seed=1)
        for image in order:
            sample.add(image, images[image])
        drawn.append(sample.features())
    np.testing.assert_array_equal(*drawn)


def test_features_of_an_image_are_drawn_without_repetition() -> None:
    sample = FeatureSample(1, 20, seed=0)
    sample.add(0, np.arange(20, dtype=np.float32)[:, np.newaxis])
    np.testing.assert_array_equal(np.sort(sample.features()[:, 0]), np.arange(20))


def test_many_images_are_sampled_so_that_work_is_bounded() -> None:
    chosen = images_to_sample(1_000_000, 200_000, seed=0)
    assert len(chosen) == 6250  # 200,000 / 32
    assert np.all(np.diff(chosen) > 0)
    np.testing.assert_array_equal(images_to_sample(100, 200_000, seed=0), np.arange(100))


@pytest.fixture(scope="module")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    centres = np.eye(6, dtype=np.float32) * 10
    points = np.repeat(centres, 200, axis=0) + generator.normal(0, 0.1, (1200, 6)).astype(np.float32)
    return points[generator.permutation(1200)], centres


def test_separate_blobs_are_found(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    points, centres = blobs
    found = fit_codebook(points, 6, seed=0)
    assert (found.dtype, found.shape) == (np.float32, (6, 6))
    distances = np.linalg.norm(found[:, np.newaxis] - centres, axis=2)
    np.testing.assert_array_equal(np.sort(distances.argmin(axis=1)), np.arange(6))
    assert distances.min(axis=1).max() < 0.05


@pytest.mark.parametrize("count", [4_000, 30_000])  # the latter with early iterations on 20 * 1024 of them
def test_inertia_is_no_worse_than_scikit_learns(count: int) -> None:
    from sklearn.cluster import KMeans

    points = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
    ours = fit_codebook(points, 20, seed=0)
    theirs = KMeans(20, n_init=1, random_state=0).fit(points).cluster_centers_
    inertias = [np.min(((points[:, np.newaxis] - c) ** 2).sum(2), axis=1).sum() for c in (ours, theirs)]
    assert inertias[0] < 1.02 * inertias[1]


def test_the_last_iterations_run_on_all_features() -> None:
    # Two clusters of 5,000 features, more than the 2 * 1024 of the early iterations: the exact means of all.
    points = np.concatenate([np.random.default_rng(k).normal(10 * k, 1, (5_000, 3)) for k in (0, 1)]).astype(np.float32)
    means = points.reshape(2, 5_000, 3).mean(axis=1, dtype=np.float64)
    found = fit_codebook(points, 2, seed=0)
    np.testing.assert_allclose(found[np.argsort(found[:, 0])], means, rtol=1e-6, atol=1e-6)


def test_the_same_bits_on_any_number_of_threads(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    points = np.random.default_rng(1).normal(size=(20_000, 12)).astype(np.float32)  # more than 16 * 1024
    threads = numba.get_num_threads()
    results = []
    for number in (1, threads):
        numba.set_num_threads(number)
        results.append(fit_codebook(points, 16, seed=5))
    numba.set_num_threads(threads)
    np.testing.assert_array_equal(*results)
    assert not np.array_equal(results[0], fit_codebook(points, 16, seed=6))


def test_fewer_features_than_clusters() -> None:
    with pytest.raises(ConfigError, match="clusters=9 is too many for 8 local features"):
        fit_codebook(np.eye(8, dtype=np.float32), 9, seed=0)


def test_copies_leave_no_nan() -> None:
    points = np.repeat(np.eye(2, dtype=np.float32), 10, axis=0)  # 2 different features for 4 clusters
    assert np.isfinite(fit_codebook(points, 4, seed=0)).all()
