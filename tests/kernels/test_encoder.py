from __future__ import annotations

import numba
import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from tfvlad_kernels import encode_vlad


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def expect(features: list[np.ndarray], centroids: np.ndarray, intra_norm: bool = True, power: float = 1) -> np.ndarray:
    return np.stack([reference.vlad(image, centroids, intra_norm, power) for image in features])


def test_by_hand() -> None:
    # Centroids (0, 0) and (10, 0). The first gets (3, 4) alone, to unit length (0.6, 0.8); the second (8, 1) and
    # (10, 2): residuals (-2, 1) and (0, 2), sum (-2, 3), to unit length (-2, 3) / sqrt(13). Both by 1 / sqrt(2).
    vlad = encode_vlad(np.array([[[3.0, 4], [8, 1], [10, 2]]]), np.array([[0.0, 0], [10, 0]]))
    np.testing.assert_allclose(vlad, np.array([[0.6, 0.8, -2 / 13**0.5, 3 / 13**0.5]]) / 2**0.5, rtol=1e-6)
    assert vlad.dtype == np.float32


@pytest.mark.parametrize(
    ("images", "length", "depth", "clusters"),
    [
        (1, 1, 1, 1),
        (3, 7, 5, 4),
        (2, 50, 3, 1),
        (2, 130, 1, 9),
        (5, 3, 17, 33),
        (3, 247, 6, 20),
        (2, 130, 66, 40),
        (1, 3, 65_537, 2),
    ],
)
@pytest.mark.parametrize("intra_norm", [True, False])
@pytest.mark.parametrize("power", [1, 0.5, 0.3])
def test_matches_the_reference(
    images: int, length: int, depth: int, clusters: int, intra_norm: bool, power: float
) -> None:
    features, centroids = draw(images, length, depth), draw(clusters, depth, seed=1)
    vlads = encode_vlad(features, centroids, intra_norm=intra_norm, power=power)
    assert vlads.shape == (images, clusters * depth)
    np.testing.assert_allclose(vlads, expect(list(features), centroids, intra_norm, power), atol=2e-5)


def test_more_values_than_16_bits_count() -> None:
    # K * D = 131,072. One feature next to each of the first and the last centroid.
    centroids = np.arange(256, dtype=np.float32)[:, np.newaxis] * np.ones(512, np.float32)
    features = centroids[[0, 255]] + np.float32(0.25)
    vlad = encode_vlad(features[np.newaxis], centroids)[0].reshape(256, 512)
    # Two unit residuals of 512 equal values, and the norm of both: 1 / sqrt(512) / sqrt(2) = 1 / 32.
    np.testing.assert_allclose(vlad[[0, 255]], 1 / 32, rtol=1e-6)
    assert not vlad[1:255].any()


def test_ties_go_to_the_lowest_centroid() -> None:
    # 5 lies between 2, 8 and 8: it is 3 from each.
    np.testing.assert_array_equal(encode_vlad(np.array([[[5.0]]]), np.array([[8.0], [2.0], [8.0]])), [[-1, 0, 0]])


def test_features_equal_to_their_centroids_leave_exact_zeros() -> None:
    centroids = draw(5, 37) * np.float32(0.1) + 1
    vlads = encode_vlad(np.stack([centroids[[0, 1, 1, 4] * 250], centroids[[2] * 1000]]), centroids)
    assert not vlads.any()


def test_an_image_with_no_feature_and_an_empty_cluster() -> None:
    centroids = np.array([[0.0, 0], [100, 100]])
    vlads = encode_vlad([np.empty((0, 2)), np.array([[3.0, 4]])], centroids)
    np.testing.assert_allclose(vlads, [[0, 0, 0, 0], [0.6, 0.8, 0, 0]], rtol=1e-6)
    assert not encode_vlad(np.empty((2, 0, 2)), centroids).any()


def test_no_images() -> None:
    assert encode_vlad(np.empty((0, 5, 3)), np.ones((2, 3))).shape == (0, 6)
    assert encode_vlad([], np.ones((2, 3))).shape == (0, 6)


def test_ragged_batches() -> None:
    centroids = draw(6, 4, seed=1)
    features = [draw(length, 4, seed=length) for length in (1, 150, 0, 7)]
    vlads = encode_vlad(features, centroids)
    np.testing.assert_allclose(vlads[[0, 1, 3]], expect([features[i] for i in (0, 1, 3)], centroids), atol=1e-6)
    assert not vlads[2].any()
    np.testing.assert_array_equal(encode_vlad(tuple(features), centroids), vlads)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4", ">f8"])
def test_dtypes_are_converted_once(dtype: str) -> None:
    features, centroids = draw(2, 30, 8).astype(dtype), draw(4, 8, seed=1).astype(dtype)
    as_float32 = encode_vlad(features.astype(np.float32), centroids.astype(np.float32))
    np.testing.assert_array_equal(encode_vlad(features, centroids), as_float32)
    np.testing.assert_array_equal(encode_vlad(list(features), centroids), as_float32)


def test_layouts() -> None:
    features, centroids = draw(3, 40, 8), draw(5, 8, seed=1)
    expected = encode_vlad(features, centroids)
    read_only = features.copy()
    read_only.flags.writeable = False
    misaligned = np.frombuffer(b"\0" + features.tobytes(), np.uint8)[1:].view(np.float32).reshape(features.shape)
    layouts = [
        np.asfortranarray(features),
        features.transpose(0, 2, 1).copy().transpose(0, 2, 1),
        features[:, ::-1][:, ::-1],
        features[::-1].copy()[::-1],
        np.repeat(features, 2, axis=2)[:, :, ::2],
        np.repeat(features, 2, axis=1)[:, ::2],
        read_only,
        misaligned,
    ]
    for layout in layouts:
        np.testing.assert_array_equal(encode_vlad(layout, centroids), expected)
        np.testing.assert_array_equal(encode_vlad(list(layout), centroids), expected)
    np.testing.assert_array_equal(encode_vlad(features, np.asfortranarray(centroids)), expected)
    np.testing.assert_array_equal(encode_vlad(features, np.repeat(centroids, 2, axis=1)[:, ::2]), expected)


@pytest.mark.parametrize("images", [1, 3])
def test_out_is_written_and_returned(images: int) -> None:
    features, centroids = draw(images, 40, 8), draw(5, 8, seed=1)
    out = np.full((images, 40), np.nan, np.float32)
    assert encode_vlad(features, centroids, out=out) is out
    np.testing.assert_array_equal(out, encode_vlad(features, centroids))


def test_out_is_apart_from_what_is_read() -> None:
    features = np.ones((2, 5, 8), np.float32)
    for features_, centroids in ((features, np.eye(5, 8)), (np.ones((2, 3, 8)), features[0])):
        with pytest.raises(ValueError, match="share memory"):
            encode_vlad(features_, centroids, out=features.reshape(2, 40))


def test_inputs_are_left_alone() -> None:
    features, centroids = draw(3, 40, 8), draw(5, 8, seed=1)
    before = features.copy(), centroids.copy()
    encode_vlad(features, centroids)
    np.testing.assert_array_equal(features, before[0])
    np.testing.assert_array_equal(centroids, before[1])
    assert features.flags.writeable


@pytest.mark.parametrize("images", [1, 2, 3, 8])
@pytest.mark.parametrize("depth", [24, 210])  # scored, and screened where the processor can
def test_the_same_bits_on_any_number_of_threads_and_in_any_batch(images: int, depth: int, thread_counts: range) -> None:
    features, centroids = draw(images, 500, depth), draw(40, depth, seed=1)
    alone = np.concatenate([encode_vlad(image[np.newaxis], centroids) for image in features])
    for threads in thread_counts:
        numba.set_num_threads(threads)
        assert encode_vlad(features, centroids, power=1).tobytes() == alone.tobytes()
        assert encode_vlad(list(features), centroids).tobytes() == alone.tobytes()


@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.integers(1, 20), st.integers(1, 9), st.booleans())
def test_norm_is_one_or_zero(seed: int, length: int, clusters: int, depth: int, intra_norm: bool) -> None:
    generator = np.random.default_rng(seed)
    features = generator.integers(-2, 3, (1, length, depth)).astype(np.float32)
    centroids = generator.integers(-2, 3, (clusters, depth)).astype(np.float32)
    vlad = encode_vlad(features, centroids, intra_norm=intra_norm)[0]
    # Whole numbers sum without rounding, so that sums which cancel are exactly zero.
    norm = 1 if reference.residual_sums(features[0], centroids).any() else 0
    assert np.linalg.norm(vlad) == pytest.approx(norm, abs=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_the_order_of_features_does_not_matter(seed: int, length: int) -> None:
    generator = np.random.default_rng(seed)
    features = generator.standard_normal((length, 6), dtype=np.float32)
    centroids = generator.standard_normal((5, 6), dtype=np.float32)
    shuffled = generator.permutation(features)
    np.testing.assert_allclose(
        *encode_vlad(np.stack([features, shuffled]), centroids, intra_norm=False), rtol=0, atol=1e-5
    )


@given(st.integers(0, 2**32 - 1), st.integers(-12, 12))
def test_scaling_features_and_centroids_alike_changes_nothing(seed: int, exponent: int) -> None:
    generator = np.random.default_rng(seed)
    features = generator.standard_normal((1, 30, 6), dtype=np.float32)
    centroids = generator.standard_normal((5, 6), dtype=np.float32)
    # A power of two scales floats without rounding, and so their products, sums and norms.
    factor = np.float32(2.0**exponent)
    np.testing.assert_array_equal(encode_vlad(features * factor, centroids * factor), encode_vlad(features, centroids))
