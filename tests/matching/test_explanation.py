"""Explanations: outlines are where the transform puts them, and the drawing shows what they say."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matching.scenes import Scene, seen
from PIL import Image

from tfvlad.matching.drawing import draw_matches
from tfvlad.matching.explanation import Explanation, box_around, explain, outline, pose
from tfvlad.matching.local_features import LocalFeatures
from tfvlad.matching.verification import Candidate, CellVerifier, Match, Query

SQUARE = [[0, 0], [1, 0], [1, 1], [0, 1]]


def affine(*rows: list[float]) -> np.ndarray:
    return np.array([*rows, [0, 0, 1]], float)


def test_an_outline_by_hand() -> None:
    half = affine([0.5, 0, 0.25], [0, 0.5, 0.5])
    np.testing.assert_allclose(outline(half), [[0.25, 0.5], [0.75, 0.5], [0.75, 1.0], [0.25, 1.0]])
    np.testing.assert_allclose(outline(half, (0.5, 0.5, 1, 1))[0], [0.5, 0.75])
    quarter_turn = affine([0, -1, 1], [1, 0, 0])
    np.testing.assert_allclose(outline(quarter_turn), [[1, 0], [1, 1], [0, 1], [0, 0]])
    np.testing.assert_allclose(outline(-half), outline(half))  # a homography is the same up to a factor


def test_what_is_beyond_the_horizon_is_cut_off() -> None:
    # The depth is 1 at the left and -0.5 at the right edge: the horizon is at two thirds.
    homography = np.array([[1, 0, 0], [0, 1, 0], [-1.5, 0, 1]], float)
    points = outline(homography)
    assert np.isfinite(points).all()
    assert len(points) == 4
    np.testing.assert_allclose(points[[0, 3]], [[0, 0], [0, 1]], atol=1e-12)
    assert (points[1:3, 0] > 100).all()
    # Only one corner beyond: five corners are left.
    assert len(outline(np.array([[1, 0, 0], [0, 1, 0], [-0.6, -0.6, 1]], float))) == 5


def test_boxes_around_outlines() -> None:
    assert box_around(np.array([[0.2, 0.1], [0.5, 0.0], [0.4, 0.9]])) == (0.2, 0.0, 0.5, 0.9)
    assert box_around(np.array([[-0.2, 0.1], [1.5, 0.0], [0.4, 0.9]])) == (0.0, 0.0, 1.0, 0.9)
    assert box_around(np.array([[1.2, 0.1], [1.5, 0.0], [1.4, 0.9]])) is None
    assert box_around(np.zeros((0, 2))) is None


def explained(box: tuple[float, float, float, float] = (0, 0, 1, 1)) -> Explanation:
    """The query shows the middle of the found picture, twice as large."""
    scene = Scene(0, detail=6)
    query, found = scene.picture(seen(0, 2.0), noise=0.1, seed=1), scene.picture(seen(), noise=0.1, seed=2)
    return explain(CellVerifier(), Query("q", [query]), Candidate("f", [found]), box)


def test_the_query_is_found_where_it_is() -> None:
    explanation = explained()
    expected = [[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]]
    np.testing.assert_allclose(explanation.query_outline, expected, atol=0.03)
    np.testing.assert_allclose(
        explanation.found_outline, [[-0.5, -0.5], [1.5, -0.5], [1.5, 1.5], [-0.5, 1.5]], atol=0.1
    )
    assert box_around(explanation.query_outline) == pytest.approx((0.25, 0.25, 0.75, 0.75), abs=0.03)
    part = explained((0.5, 0.5, 1, 1))
    np.testing.assert_allclose(part.query_outline[[0, 2]], [[0.5, 0.5], [0.75, 0.75]], atol=0.03)
    assert len(explanation.cells) == explanation.match.inliers > 60


def nothing() -> Explanation:
    empty = LocalFeatures(np.zeros((0, 2)), np.zeros((0, 32), np.int8), (0.1, 0.1), (10, 10))
    return explain(CellVerifier(), Query("q", [empty]), Candidate("f", [empty]))


def test_where_nothing_agrees_there_is_nothing_to_outline() -> None:
    explanation = nothing()
    assert explanation.query_outline is explanation.found_outline is None
    assert len(explanation.cells) == 0


def opened(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


def is_red(pixels: np.ndarray) -> np.ndarray:
    return (pixels[..., 0] > 240) & (pixels[..., 1] < 60) & (pixels[..., 2] < 60)


def test_both_pictures_are_drawn_side_by_side() -> None:
    drawn = opened(draw_matches(grey(300, 400), grey(960, 480), explained(), side=480))
    assert drawn.shape == (480, 400 + 12 + 240, 3)  # the first fits, the second is halved
    assert (drawn[470:, :100] == 255).all()  # below the lower of the two
    # The outline of the query is around the middle of the right picture: its left edge at a quarter of 240 pixels.
    rows, columns = np.nonzero(is_red(drawn[:, 412:]))
    assert (columns.min(), columns.max()) == (pytest.approx(60, abs=12), pytest.approx(180, abs=12))
    assert (rows.min(), rows.max()) == (pytest.approx(120, abs=20), pytest.approx(360, abs=20))


def test_the_drawing_is_the_same_again_and_without_matches_has_no_lines() -> None:
    pictures = grey(60, 80), grey(80, 60)
    assert draw_matches(*pictures, explained()) == draw_matches(*pictures, explained())
    plain = opened(draw_matches(*pictures, nothing()))
    assert (plain[:60, :80] == 128).all()
    assert (plain[:, 92:] == 128).all()


def test_outlines_that_reach_far_are_drawn_in_bounded_time() -> None:
    far = np.array([[-1e30, 0], [1e30, 0.2], [1e30, 1e9], [0.5, 0.5]])
    cells = np.array([[[0.5, 0.5], [0.2, 0.2]]], np.float32)
    explanation = Explanation(Match(1, 1.0, np.eye(3), cells=cells), far, far)
    assert opened(draw_matches(grey(1, 1), grey(700, 3), explanation)).shape[0] == 480


def test_many_matches_are_thinned_out() -> None:
    generator = np.random.default_rng(0)
    cells = generator.uniform(0, 1, (5000, 2, 2)).astype(np.float32)
    drawn = opened(draw_matches(grey(200, 200), grey(200, 200), Explanation(Match(cells=cells), None, None)))
    assert (drawn[:, :200] == 128).all(axis=-1).mean() > 0.2


@pytest.mark.parametrize("degrees", [0, 30, -135, 180])
def test_a_pose_is_that_of_the_similarity(degrees: float) -> None:
    """Whatever the shapes of the two pictures; lengths are counted in their longest sides."""
    query, found = np.array([400, 300]), np.array([300, 600])
    angle = np.radians(degrees)
    turn = 0.5 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])  # y points down
    transform = np.eye(3)
    transform[:2, :2] = np.diag(600 / found) @ turn @ np.diag(query / 400)
    told = pose(transform, (4, 3), (30, 60))
    assert (told.turn, told.scale, told.stretch) == pytest.approx((degrees, 0.5, 1))


def test_the_pose_of_a_homography_is_that_of_the_middle() -> None:
    transform = np.array([[1.0, 0.1, 0], [0, 1, 0.2], [0.4, 0.1, 1]])
    middle, step = np.array([0.5, 0.5, 1]), 1e-6
    ends = [transform @ (middle + np.array(offset)) for offset in ([0, 0, 0], [step, 0, 0], [0, step, 0])]
    start, right, down = (end[:2] / end[2] for end in ends)
    longer, shorter = np.linalg.svd(np.stack([right - start, down - start], axis=1) / step, compute_uv=False)
    told = pose(transform, (1, 1), (1, 1))
    assert (told.scale, told.stretch) == pytest.approx((np.sqrt(longer * shorter), longer / shorter), rel=1e-4)
    assert pose(np.zeros((3, 3)) + np.diag([1.0, 0, 1]), (1, 1), (1, 1)).stretch == np.inf
