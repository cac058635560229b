from __future__ import annotations

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from tfvlad_kernels import assign
from tfvlad_kernels.microkernel import LANES, ROWS, TILE


def integers(generator: np.random.Generator, *shape: int) -> np.ndarray:
    """Draws small integers as floats: sums of their products are exact, so that ties are ties."""
    return generator.integers(-3, 4, shape).astype(np.float32)


def test_by_hand() -> None:
    # On a line with centroids at 0, 10 and 4: 1 is nearest to 0, 6 to 4 and 8 to 10; 7 lies between 10 and 4,
    # and 10 comes first; 2 lies between 0 and 4, and 0 comes first.
    labels = assign(np.array([[1.0], [6.0], [8.0], [7.0], [2.0]]), np.array([[0.0], [10.0], [4.0]]))
    assert labels.tolist() == [0, 2, 1, 1, 0]
    assert labels.dtype == np.int32


# Around the sizes of a block of features, a tile, and a whole and half a panel of centroids.
@pytest.mark.parametrize("length", [1, ROWS - 1, ROWS, ROWS + 1, TILE, TILE + 1, 2 * TILE + ROWS - 1])
@pytest.mark.parametrize("clusters", [1, 2, LANES // 2, LANES // 2 + 1, LANES, LANES + 1, 3 * LANES - 1])
@pytest.mark.parametrize("depth", [1, 5])
def test_matches_the_reference_with_many_ties(length: int, clusters: int, depth: int) -> None:
    generator = np.random.default_rng(length + clusters + depth)
    features, centroids = integers(generator, length, depth), integers(generator, clusters, depth)
    assert assign(features, centroids).tolist() == reference.nearest(features, centroids)


def test_a_repeated_centroid_is_never_chosen() -> None:
    generator = np.random.default_rng(0)
    centroids = generator.standard_normal((LANES + 3, 7), dtype=np.float32)
    features = generator.standard_normal((50, 7), dtype=np.float32)
    # The copies lie in other lanes, and in half a panel where the originals fill a whole one.
    np.testing.assert_array_equal(assign(features, np.tile(centroids, (2, 1))), assign(features, centroids))


def test_deep_features() -> None:
    generator = np.random.default_rng(0)
    features, centroids = integers(generator, 4, 70_000), integers(generator, 3, 70_000)
    assert assign(features, centroids).tolist() == reference.nearest(features, centroids)


def test_a_codebook_too_large_for_whole_tiles() -> None:
    # 2^18 scores at a time: 15,000 centroids leave room for 17 features, of which 12 make whole blocks.
    generator = np.random.default_rng(0)
    centroids = generator.standard_normal((15_000, 16), dtype=np.float32)
    chosen = generator.integers(0, 15_000, 100)
    features = centroids[chosen] + generator.standard_normal((100, 16), dtype=np.float32) / 100
    np.testing.assert_array_equal(assign(features, centroids), chosen)


def test_no_features() -> None:
    assert assign(np.empty((0, 4), np.float32), np.ones((2, 4))).shape == (0,)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.integers(1, 20))
def test_the_chosen_centroid_is_nearest(seed: int, length: int, clusters: int, depth: int) -> None:
    generator = np.random.default_rng(seed)
    features, centroids = generator.standard_normal((length, depth)), generator.standard_normal((clusters, depth))
    distances = np.linalg.norm(features[:, np.newaxis] - centroids, axis=2)
    chosen = distances[np.arange(length), assign(features, centroids)]
    np.testing.assert_allclose(chosen, distances.min(axis=1), rtol=1e-4, atol=1e-4)
