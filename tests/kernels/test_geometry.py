"""Transforms are drawn, points are moved by them, with noise and among outliers, and the transforms must come back."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from tfvlad_kernels import find_transform
from tfvlad_kernels.geometry import MOST_SCALE, MOST_STRETCH

SIDE = 28.0  # cells
CORNERS = np.array([[0, 0], [SIDE, 0], [SIDE, SIDE], [0, SIDE]])


def compose(scale: float = 1, degrees: float = 0, stretch: float = 1, lean: float = 0) -> np.ndarray:
    """(2, 3): stretches by `stretch` in a direction `lean` degrees from x, scales and turns about the middle."""
    turn, back = rotation(degrees), rotation(lean)
    linear = scale * turn @ back @ np.diag([stretch**0.5, stretch**-0.5]) @ back.T
    middle = np.full(2, SIDE / 2)
    return np.concatenate([linear, (middle - linear @ middle)[:, np.newaxis]], axis=1)


def rotation(degrees: float) -> np.ndarray:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, -sine], [sine, cosine]])


def move(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ transform[:, :2].T + transform[:, 2]


def draw(
    transform: np.ndarray, count: int, share: float, seed: int, noise: float = 0.3
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws correspondences of which a share follows a transform: two (count, 2), and which of them do."""
    generator = np.random.default_rng(seed)
    query = generator.uniform(0, SIDE, (count, 2))
    extent = max(SIDE, np.ptp(move(transform, CORNERS), axis=0).max())
    database = generator.uniform(SIDE / 2 - extent / 2, SIDE / 2 + extent / 2, (count, 2))
    right = np.arange(count) < round(count * share)
    scale = np.sqrt(np.linalg.det(transform[:, :2]))
    shift = generator.standard_normal((count, 2)) + scale * generator.standard_normal((count, 2))  # noise of both sides
    database[right] = (move(transform, query) + noise / 2**0.5 * shift)[right]
    order = generator.permutation(count)
    return query[order], database[order], right[order]


def check(transform: np.ndarray, found: np.ndarray, threshold: float) -> None:
    """Checks that two transforms lead the corners to places that are near each other."""
    scale = np.sqrt(np.linalg.det(transform[:, :2]))
    assert np.abs(move(found, CORNERS) - move(transform, CORNERS)).max() < threshold * max(1, scale)


def test_by_hand() -> None:
    # (x, y) to (2 x + 3, 2 y + 1). The last two correspondences are elsewhere.
    query = np.array([[0, 0], [9, 0], [9, 9], [0, 9], [4, 2], [7, 7], [1, 3]])
    database = 2 * query + [3, 1]
    database[5:] = [[0, 40], [40, 0]]
    found = find_transform(query, database, 1)
    assert found.inliers == 5
    assert found.mask.tolist() == [True] * 5 + [False] * 2
    np.testing.assert_allclose(found.transform, [[2, 0, 3], [0, 2, 1]], atol=1e-6)
    assert (found.transform.dtype, found.mask.dtype) == (np.float32, np.bool_)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.9, 0.5, 0.25])
@pytest.mark.parametrize("scale", [0.3, 1, 3])
@pytest.mark.parametrize(("degrees", "stretch", "lean"), [(0, 1, 0), (40, 1.8, 30), (180, 1.3, 80), (-100, 2.5, 0)])
def test_affine_transforms_come_back(
    scale: float, degrees: float, stretch: float, lean: float, share: float, seed: int
) -> None:
    transform = compose(scale, degrees, stretch, lean)
    query, database, right = draw(transform, 150, share, seed)
    found = find_transform(query, database, 1.5)
    check(transform, found.transform, 1.5)
    assert found.mask[right].mean() > 0.95
    assert found.mask.tolist() == reference.inliers(found.transform, query, database, 1.5)
    assert found.inliers == found.mask.sum()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("scale", "degrees"), [(1, 0), (0.2, 77), (5, -140)])
def test_similarities_come_back(scale: float, degrees: float, seed: int) -> None:
    transform = compose(scale, degrees)
    query, database, right = draw(transform, 150, 0.3, seed)
    found = find_transform(query, database, 1.5, affine=False)
    check(transform, found.transform, 1.5)
    assert found.mask[right].mean() > 0.95
    (a, b, _), (c, d, _) = found.transform
    assert (a, b) == (d, -c)


@pytest.mark.parametrize("share", [0.6, 0.3])
def test_as_many_inliers_as_opencv_finds(share: float) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    ours, theirs = [], []
    for seed in range(20):
        transform = compose(1, 18 * seed, 1 + seed / 20, 9 * seed)
        query, database, _ = draw(transform, 120, share, seed)
        found = find_transform(query, database, 1.5)
        # Ours is held against t² (1 + s²) / 2: with OpenCV's threshold so large, both count the same.
        threshold = 1.5 * np.sqrt(0.5 + np.sum(found.transform[:, :2] ** 2) / 4)
        matrix, mask = cv2.estimateAffine2D(
            query.astype(np.float32), database.astype(np.float32), ransacReprojThreshold=threshold, maxIters=2000
        )
        check(matrix, found.transform, 1.5)
        assert (found.mask == mask[:, 0].astype(bool)).mean() > 0.95
        ours.append(found.inliers)
        theirs.append(int(mask.sum()))
    assert np.sum(ours) >= 0.99 * np.sum(theirs)


@given(st.integers(0, 2**32 - 1))
def test_no_transform_through_three_has_many_more(seed: int) -> None:
    query, database, _ = draw(compose(1.2, 60, 1.5), 14, 0.5, seed)
    found = find_transform(query, database, 1.5)
    most = 0
    for triple in itertools.combinations(range(14), 3):
        sides = np.concatenate([query[[*triple]], np.ones((3, 1))], axis=1)
        if abs(np.linalg.det(sides)) > 9:
            transform = np.linalg.solve(sides, database[[*triple]]).T
            stretches = np.linalg.svd(transform[:, :2], compute_uv=False)
            if np.linalg.det(transform[:, :2]) > 0 and stretches[0] < 4 * stretches[1]:
                most = max(most, sum(reference.inliers(transform, query, database, 1.5)))
    assert found.inliers >= most - 3  # votes count errors, too, and fewer inliers that fit better may have more


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.floats(0.1, 3), st.booleans())
def test_whatever_is_found_is_acceptable(seed: int, count: int, threshold: float, affine: bool) -> None:
    generator = np.random.default_rng(seed)
    query, database = generator.integers(0, 7, (2, count, 2)).astype(np.float32)  # many coincide or are in line
    similarities = generator.random(count)
    found = find_transform(query, database, threshold, similarities, affine=affine)
    assert found.inliers == found.mask.sum()
    if not found.inliers:
        assert not found.transform.any()
        return
    stretches = np.linalg.svd(found.transform[:, :2].astype(np.float64), compute_uv=False)
    assert np.linalg.det(found.transform[:, :2]) > 0
    assert stretches[0] <= MOST_SCALE * 1.00001
    assert stretches[1] >= 0.99999 / MOST_SCALE
    assert stretches[0] <= MOST_STRETCH * stretches[1] * 1.00001
    assert found.inliers >= (4 if affine else 3)
    likeliest_first = np.argsort(-similarities, kind="stable")
    for points in (query[likeliest_first], database[likeliest_first]):
        inliers = points[found.mask[likeliest_first]].astype(np.float64)
        opposite = np.roll(inliers, -(found.inliers // 2), axis=0)
        for start, along in zip(inliers[:16], (opposite - inliers)[:16], strict=True):  # the lines that are tried
            if along.any():
                across = np.array([-along[1], along[0]]) / np.hypot(*along)
                off_line = np.abs((inliers - start) @ across) > np.float32(threshold) / 2
                assert off_line.sum() >= max(2, found.inliers / 4)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.25, 2.0, 1024.0]))
def test_the_unit_does_not_matter(seed: int, unit: float) -> None:
    query, database, _ = draw(compose(0.8, 20, 1.3), 60, 0.4, seed)
    query, database = query.astype(np.float32), database.astype(np.float32)
    found = find_transform(query, database, 1.5)
    other = find_transform(unit * query, unit * database, unit * 1.5)  # powers of two: no rounding
    np.testing.assert_array_equal(found.mask, other.mask)
    np.testing.assert_array_equal(found.transform * np.array([1, 1, unit], np.float32), other.transform)


@pytest.mark.parametrize("scale", [0.25, 1, 4])
def test_query_and_database_image_may_change_places(scale: float) -> None:
    transform = compose(scale, 30, 1.4)
    query, database, _ = draw(transform, 150, 0.3, seed=0)
    forward, backward = find_transform(query, database, 1.5), find_transform(database, query, 1.5)
    assert (forward.mask == backward.mask).mean() > 0.95
    back_and_forth = move(backward.transform, move(forward.transform, CORNERS))
    np.testing.assert_allclose(back_and_forth, CORNERS, atol=1.5 * max(1, 1 / scale))


LINE = np.linspace(0, SIDE, 40)[:, np.newaxis] * [0.6, 0.8]
GRID = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1).reshape(-1, 2)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(
    ("query", "database"),
    [
        pytest.param(np.empty((0, 2)), np.empty((0, 2)), id="nothing"),
        pytest.param(GRID[:1], GRID[:1], id="one cell"),
        pytest.param(GRID[[0, -1]], GRID[[0, -1]], id="two cells"),
        pytest.param(np.repeat(GRID[[5]], 30, axis=0), np.repeat(GRID[[9]], 30, axis=0), id="one place"),
        pytest.param(np.repeat(GRID[[5, 80]], 30, axis=0), np.repeat(GRID[[9, 2]], 30, axis=0), id="two places"),
        pytest.param(LINE, LINE, id="a line"),
        pytest.param(LINE + GRID[:40] * [0, 0.01], LINE[::-1], id="nearly a line"),
        pytest.param(np.concatenate([LINE, [[20, 3]]]), np.concatenate([LINE, [[4, 20]]]), id="a line and a cell"),
        pytest.param(GRID, np.repeat(GRID[[40]], len(GRID), axis=0), id="all to one place"),
        pytest.param(np.repeat(GRID[[40]], len(GRID), axis=0), GRID, id="one place to all"),
        pytest.param(GRID, GRID * [1, 0], id="all to a line"),
        pytest.param(GRID, GRID * [-1, 1], id="a mirror"),
        pytest.param(GRID, GRID * 30, id="thirty times as large"),
        pytest.param(GRID, GRID / 30, id="a thirtieth of the size"),
        pytest.param(GRID * 100, GRID * [800, 100], id="stretched eight times"),
    ],
)
def test_degenerate_sets_give_few_inliers(query: np.ndarray, database: np.ndarray, affine: bool) -> None:
    found = find_transform(query, database, 1.5, affine=affine)
    assert found.inliers <= max(4, len(query) // 8)
    assert found.inliers == found.mask.sum()


def test_a_line_does_not_hide_an_area() -> None:
    # More correspondences agree on a line than under the transform; but any transform along it would do.
    transform = compose(1, 30)
    query, database, right = draw(transform, 30, 1, seed=0)
    query, database = np.concatenate([LINE, query]), np.concatenate([LINE + np.array([3, 1]), database])
    found = find_transform(query, database, 1.5)
    check(transform, found.transform, 1.5)
    assert found.mask[len(LINE) :][right].mean() > 0.95


def test_what_is_similar_is_tried_first() -> None:
    # One in 25 is right: 1,000 hypotheses without a hint would hardly find them.
    transform = compose(1, 50, 1.5)
    hits = 0
    for seed in range(10):
        query, database, right = draw(transform, 500, 0.04, seed, noise=0.1)
        found = find_transform(query, database, 1.0, np.where(right, 0.9, 0.5), iterations=300)
        hits += found.mask[right].mean() > 0.9
    assert hits >= 9


def test_chance_gives_few_inliers() -> None:
    # 150 correspondences at random, 28 x 28 cells: a transform that three of them go through has 150 * pi 1.5² / 28²
    # = 1.35 more in the mean; what fits best of a thousand has some more.
    generator = np.random.default_rng(0)
    draws = [generator.uniform(0, SIDE, (2, 150, 2)) for _ in range(50)]
    found = [find_transform(query, database, 1.5).inliers for query, database in draws]
    assert np.median(found) <= 9
    assert max(found) <= 14


def test_the_same_again() -> None:
    query, database, _ = draw(compose(1, 50, 1.5), 200, 0.2, seed=0)
    first, second = find_transform(query, database, 1.5), find_transform(query, database, 1.5)
    np.testing.assert_array_equal(first.transform, second.transform)
    np.testing.assert_array_equal(first.mask, second.mask)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((2, 3)), np.ones((2, 3)), 1), r"query_positions must have shape \(N, 2\), got shape \(2, 3\)"),
        ((np.ones((2, 2)), np.ones((3, 2)), 1), "must be as many, got 2 and 3"),
        ((np.ones((2, 2)), [[0, 0], [np.inf, 0]], 1), "positions must be finite, got NaN or Inf in row 1"),
        ((np.ones((2, 2)), np.ones((2, 2)), 0), "threshold must be above 0 and finite, got 0"),
        ((np.ones((2, 2)), np.ones((2, 2)), np.nan), "threshold must be above 0 and finite, got nan"),
        ((np.ones((2, 2)), np.ones((2, 2)), 1, [1]), "similarities must be 2 finite numbers"),
        ((np.ones((2, 2)), np.ones((2, 2)), 1, [1, np.nan]), "similarities must be 2 finite numbers"),
    ],
)
def test_what_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_transform(*arguments)
    with pytest.raises(ValueError, match="iterations must be at least 1, got 0"):
        find_transform(np.ones((2, 2)), np.ones((2, 2)), 1, iterations=0)
