from __future__ import annotations

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from tfvlad_kernels import matching, mutual_nearest
from tfvlad_kernels.microkernel import LANES, ROWS

KINDS = ("bytes", "extremes", "tied bytes", "floats", "tied floats")


def draw(kind: str, generator: np.random.Generator, *shape: int) -> np.ndarray:
    """Draws features whose inner products are exact, so that ties are ties."""
    if kind == "bytes":
        return generator.integers(-128, 128, shape, np.int8)
    if kind == "extremes":
        return generator.choice(np.array([-128, 127], np.int8), shape)
    if kind == "tied bytes":
        return generator.integers(-1, 2, shape, np.int8)
    return generator.integers(-300, 301, shape).astype(np.float32) if kind == "floats" else draw_small(generator, shape)


def draw_small(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return generator.integers(-1, 2, shape).astype(np.float32) / 4


def check(features: np.ndarray, others: np.ndarray) -> None:
    pairs, similarities = mutual_nearest(features, others)
    assert pairs.tolist() == [list(pair) for pair in reference.mutual_nearest(features, others)]
    products = features.astype(np.float64) @ others.astype(np.float64).T
    np.testing.assert_array_equal(similarities, products[pairs[:, 0], pairs[:, 1]])
    assert pairs.dtype == np.intp
    assert similarities.dtype == np.float32


def test_by_hand() -> None:
    # Products of (1, 0) with the others: 9, 1 and 9, of which the first 9 counts; of (0, 1): 0, 8 and 0; of (1, 1):
    # three times 9, of which the first counts. The first of the others has a 9 with (1, 0) before that with (1, 1); the
    # second has its 9 with (1, 1), whose choice is another; the third has a 9 with (1, 0), whose choice is another.
    features, others = np.array([[1.0, 0], [0, 1], [1, 1]]), [[9.0, 0], [1, 8], [9, 0]]
    pairs, similarities = mutual_nearest(features, others)
    assert (pairs.tolist(), similarities.tolist()) == ([[0, 0]], [9])
    # Without (1, 1), the second has its largest, 8, with (0, 1), and is its choice.
    pairs, similarities = mutual_nearest(features[:2], others)
    assert (pairs.tolist(), similarities.tolist()) == ([[0, 0], [1, 1]], [9, 8])


# Around the sizes of a block of rows and of a panel of columns, and of words of four bytes.
@pytest.mark.parametrize("length", [1, ROWS + 1, LANES - 1, LANES, 2 * LANES + 3])
@pytest.mark.parametrize("count", [1, 2, ROWS - 1, ROWS, 5 * ROWS + 1])
@pytest.mark.parametrize("depth", [1, 4, 7, 64])
@pytest.mark.parametrize("kind", KINDS)
def test_matches_the_reference(length: int, count: int, depth: int, kind: str) -> None:
    generator = np.random.default_rng(length + count + depth)
    check(draw(kind, generator, length, depth), draw(kind, generator, count, depth))


def test_the_deepest_bytes_are_exact() -> None:
    generator = np.random.default_rng(0)
    features = draw("extremes", generator, 40, matching.MOST_BYTES)
    features[3], features[4] = -128, 127  # sums of 2^24 and of -128 * 127 * 1024
    check(features, features[::-1].copy())


@given(st.integers(0, 2**32 - 1), st.integers(0, 90), st.integers(0, 90), st.integers(1, 9), st.sampled_from(KINDS))
def test_pairs_are_mutual(seed: int, length: int, count: int, depth: int, kind: str) -> None:
    generator = np.random.default_rng(seed)
    features, others = draw(kind, generator, length, depth), draw(kind, generator, count, depth)
    check(features, others)
    # Without ties, neither side is special.
    if kind == "floats":
        forward, backward = mutual_nearest(features, others).pairs, mutual_nearest(others, features).pairs
        assert {(i, j) for i, j in forward.tolist()} >= {(i, j) for j, i in backward.tolist()} - ties(features, others)


def ties(features: np.ndarray, others: np.ndarray) -> set[tuple[int, int]]:
    """All pairs of which one has as large a product with another."""
    products = features.astype(np.float64) @ others.astype(np.float64).T
    rows = (products == products.max(axis=1, keepdims=True, initial=-np.inf)).sum(axis=1) > 1
    columns = (products == products.max(axis=0, keepdims=True, initial=-np.inf)).sum(axis=0) > 1
    return {(i, j) for i in range(len(features)) for j in range(len(others)) if rows[i] or columns[j]}


def test_rounded_floats_agree_with_float64() -> None:
    generator = np.random.default_rng(0)
    features, others = (generator.standard_normal((300, 64), dtype=np.float32) for _ in range(2))
    pairs, similarities = mutual_nearest(features, others)
    assert pairs.tolist() == [list(pair) for pair in reference.mutual_nearest(features, others)]
    np.testing.assert_allclose(similarities, (features[pairs[:, 0]] * others[pairs[:, 1]]).sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.int8])
def test_opencv_finds_the_same(dtype: type) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    generator = np.random.default_rng(0)
    floats = generator.standard_normal((2, 400, 64))
    floats[1, :250] = floats[0, 150:] + 0.4 * floats[1, :250]
    floats /= np.linalg.norm(floats, axis=2, keepdims=True)
    first, second = np.rint(floats * 250).astype(np.int8) if dtype == np.int8 else floats.astype(np.float32)
    # OpenCV compares distances, which are in the order of products only where all norms are the same: three more
    # columns, up to whose rounding they are.
    lengths = [(x.astype(np.float64) ** 2).sum(axis=1) for x in (first, second)]
    most = max(length.max() for length in lengths)
    padded = [
        np.concatenate([x, *(np.sqrt(most - length)[:, np.newaxis] * side for side in sides)], axis=1)
        for x, length, sides in zip((first, second), lengths, ((1, 0), (0, 1)), strict=True)
    ]
    found = cv2.BFMatcher(cv2.NORM_L2, crossCheck=True).match(*(x.astype(np.float32) for x in padded))
    expected = {(match.queryIdx, match.trainIdx) for match in found}
    pairs = {(i, j) for i, j in mutual_nearest(first, second).pairs.tolist()}
    assert len(pairs) > 200
    assert len(pairs ^ expected) <= 2  # OpenCV's float32 distances round


def test_copies_are_paired_once() -> None:
    one = np.tile(np.array([[3, -4, 5, 0]], np.int8), (50, 1))
    assert mutual_nearest(one, one).pairs.tolist() == [[0, 0]]
    # A pattern of four features that repeats: the first of each kind.
    pattern = np.tile(np.eye(4, dtype=np.int8), (30, 1))
    assert mutual_nearest(pattern, pattern).pairs.tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
@pytest.mark.parametrize(("length", "count"), [(0, 0), (0, 3), (3, 0)])
def test_no_features(dtype: type, length: int, count: int) -> None:
    pairs, similarities = mutual_nearest(np.zeros((length, 4), dtype), np.zeros((count, 4), dtype))
    assert pairs.shape == (0, 2)
    assert similarities.shape == (0,)


def test_zeros_of_either_sign_tie() -> None:
    # Products: -0 with the first, 0 with the second.
    assert mutual_nearest(np.array([[1.0]]), np.array([[-0.0], [0.0]])).pairs.tolist() == [[0, 0]]


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
def test_other_floats_are_converted(dtype: str) -> None:
    features = np.random.default_rng(0).standard_normal((30, 8)).astype(dtype)
    expected = mutual_nearest(features.astype(np.float32), features.astype(np.float32))
    np.testing.assert_array_equal(mutual_nearest(features, features.astype(np.float32)).pairs, expected.pairs)
    strided = np.repeat(features, 2, axis=1)[:, ::2]
    np.testing.assert_array_equal(mutual_nearest(strided, features).similarities, expected.similarities)


@pytest.mark.parametrize(
    ("features", "others", "error", "message"),
    [
        (np.ones((2, 4), np.int8), np.ones((2, 4)), TypeError, "int8 on both sides or on none, got int8 and float64"),
        (np.ones((2, 4), np.uint8), np.ones((2, 4), np.uint8), TypeError, "must be float16, float32 or float64"),
        (np.ones((2, 4), np.int8), np.ones((2, 5), np.int8), ValueError, r"\(N, D\) and \(M, D\), got shapes \(2, 4\)"),
        (np.ones((2, 4)), np.ones((2, 5)), ValueError, r"got shape \(2, 5\)"),
        (np.ones(4), np.ones((2, 4)), ValueError, r"got shape \(4,\)"),
        (np.ones((1, 1025), np.int8), np.ones((1, 1025), np.int8), ValueError, "from 1 to 1024 columns, got"),
        (np.ones((1, 0), np.int8), np.ones((1, 0), np.int8), ValueError, "from 1 to 1024 columns, got"),
        (np.ones((1, 0)), np.ones((1, 0)), ValueError, "D at least 1"),
        (np.ones((2, 4)), np.full((2, 4), np.nan), ValueError, "must be finite, got NaN or Inf in 2 of 2 rows"),
        (np.full((2, 4), 1e30), np.full((2, 4), 1e30), ValueError, "must be small enough for float32"),
    ],
)
def test_what_is_refused(features: np.ndarray, others: np.ndarray, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        mutual_nearest(features, others)
