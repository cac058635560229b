"""The most similar feature beyond a neighbourhood, judged by the whole matrix of similarities."""

from __future__ import annotations

import numpy as np
import pytest

from tfvlad_kernels.uniqueness import most_similar_elsewhere


def slow(features: np.ndarray, places: np.ndarray, radius: int) -> np.ndarray:
    wide = features.astype(np.float64)
    similarities = wide @ wide.T
    apart = np.abs(places[:, None] - places[None]).max(axis=2)
    similarities[apart <= radius] = -np.inf
    return similarities.max(axis=1, initial=-np.inf)


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
@pytest.mark.parametrize(
    ("height", "width", "dim", "radius"), [(1, 1, 3, 2), (5, 7, 64, 2), (1, 40, 5, 2), (9, 9, 16, 0), (16, 17, 64, 3)]
)
def test_it_is_the_largest_of_the_matrix(dtype: type, height: int, width: int, dim: int, radius: int) -> None:
    random = np.random.default_rng(height * width)
    places = np.argwhere(random.random((height, width)) < 0.8)
    features = random.integers(-127, 128, (len(places), dim)).astype(dtype)
    found = most_similar_elsewhere(features, places, radius)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, slow(features, places, radius))  # whole numbers are exact


def test_the_neighbourhood_is_a_square() -> None:
    features = np.eye(1, dtype=np.int8).repeat(2, axis=0)
    for place, expected in (((2, 2), -np.inf), ((0, 2), -np.inf), ((3, 0), 1), ((0, 3), 1), ((3, 3), 1)):
        assert most_similar_elsewhere(features, [(0, 0), place], 2).tolist() == [expected] * 2


def test_negative_similarities_and_no_features() -> None:
    found = most_similar_elsewhere(np.array([[1.0, 0], [-0.5, 0]]), [[0, 0], [0, 9]], 2)
    assert found.tolist() == [-0.5, -0.5]
    assert most_similar_elsewhere(np.zeros((0, 4), np.int8), np.zeros((0, 2), int), 2).shape == (0,)


def test_what_is_refused() -> None:
    features = np.ones((2, 3), np.int8)
    for places in ([[0, 0]], [[0, 0], [0, -1]], [[0.0, 0], [1, 1]], [[1, 1], [1, 1]]):
        with pytest.raises(ValueError, match="places must be"):
            most_similar_elsewhere(features, places, 2)
    with pytest.raises(ValueError, match="features must be finite"):
        most_similar_elsewhere(np.array([[np.nan], [1]]), [[0, 0], [0, 9]], 2)
