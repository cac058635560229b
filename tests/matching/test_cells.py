"""Which cells are kept, where they are, and what a projection makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from tfvlad.errors import ConfigError
from tfvlad.matching.cells import cell_positions, describe_cells, select_cells, uniqueness
from tfvlad.matching.compression import Projection


def sample(count: int = 400, channels: int = 24, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(count, channels)) * np.geomspace(3, 0.1, channels) + 1
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def turned(degrees: float) -> np.ndarray:
    """A view that is a square image turned about its middle."""
    angle = np.deg2rad(degrees)
    linear = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.concatenate([linear, (0.5 - linear @ [0.5, 0.5])[:, np.newaxis]], axis=1)


def test_cosines_survive_eight_bits() -> None:
    features = sample(channels=64)
    projection = Projection.seeded(64, 48)
    exact = features @ projection.components.T
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    found = projection.apply(features).astype(np.float32) / 127
    assert np.abs(found @ found.T - exact @ exact.T).max() < 0.03


def test_a_seeded_projection_needs_no_sample_and_keeps_cosines() -> None:
    projection = Projection.seeded(256)
    assert projection.dim == 64
    np.testing.assert_allclose(projection.components @ projection.components.T, np.eye(64), atol=1e-6)
    np.testing.assert_array_equal(Projection.seeded(256).components, projection.components)
    assert not np.array_equal(Projection.seeded(256, seed=1).components, projection.components)
    features = sample(60, channels=256)
    found = projection.apply(features).astype(np.float32) / 127
    assert np.abs(found @ found.T - features @ features.T).mean() < 1 / np.sqrt(64)
    for dim in (0, 257):
        with pytest.raises(ConfigError, match="have 1 to 256 dimensions"):
            Projection.seeded(256, dim)


def test_a_seeded_projection_never_changes() -> None:
    # Cells that were stored with it would no longer match. The first row is (1.7641, 0.9787, 1.8676) over its length:
    # every other number of the six that NumPy's frozen generator gives first.
    expected = [[0.6417, 0.3560, 0.6793], [0.0611, 0.8592, -0.5080]]
    np.testing.assert_allclose(Projection.seeded(3, 2).components, expected, atol=1e-4)


def test_a_feature_of_zeros_stays_zeros() -> None:
    projection = Projection(np.eye(3, dtype=np.float32))
    np.testing.assert_array_equal(
        projection.apply(np.array([[0, 0, 0], [0, 0, 2]], np.float32)), [[0] * 3, [0, 0, 127]]
    )


def test_centres_of_cells() -> None:
    # Two rows of four cells: the centres are at eighths across, and at quarters down.
    expected = [[x / 8, y / 4] for y in (1, 3) for x in (1, 3, 5, 7)]
    np.testing.assert_allclose(cell_positions(2, 4), expected)
    part = np.array([[0.5, 0, 0.25], [0, 0.5, 0.5]])  # a view of half of each side, from (1/4, 1/2) on
    np.testing.assert_allclose(cell_positions(2, 4, part), np.array(expected) / 2 + [0.25, 0.5])


def test_a_turned_view_has_its_cells_where_they_are_in_the_image() -> None:
    # A quarter turn: the view's upper left corner (0, 0) is the image's lower left one.
    quarter = cell_positions(2, 2, turned(90))
    np.testing.assert_allclose(quarter, [[0.25, 0.75], [0.25, 0.25], [0.75, 0.75], [0.75, 0.25]], atol=1e-6)


def test_corners_of_a_turned_view_are_left_out() -> None:
    features = sample(100).reshape(10, 10, -1)
    projection = Projection.seeded(24, 6)
    whole = describe_cells(features, projection, (300, 300), margin=0)
    diagonal = describe_cells(features, projection, (300, 300), turned(45), margin=0)
    assert len(whole) == 100
    assert 60 < len(diagonal) < 100
    assert whole.cell_pixels == pytest.approx(30)
    assert diagonal.cell_pixels == pytest.approx(30)  # a turn makes cells neither larger nor smaller
    np.testing.assert_array_equal(whole.descriptors, projection.apply(features.reshape(100, -1)))


def test_cells_at_edges_are_left_out() -> None:
    features = sample(320).reshape(16, 20, -1)
    projection = Projection.seeded(24, 6)
    whole = describe_cells(features, projection, (500, 400))
    assert len(whole) == 12 * 16
    np.testing.assert_allclose(whole.positions.min(axis=0), [2.5 / 20, 2.5 / 16], atol=1e-4)
    # A part of the image: its own edges count, though they are in the middle of the image.
    part = describe_cells(features, projection, (500, 400), np.array([[0.5, 0, 0.25], [0, 0.5, 0.25]]))
    assert len(part) == 12 * 16
    # A turned view: its edges are within the image or without; the image's own count as well.
    diagonal = describe_cells(sample(256).reshape(16, 16, -1), projection, (400, 400), turned(45))
    assert ((diagonal.positions > 2 / 16 - 1e-4) & (diagonal.positions < 14 / 16 + 1e-4)).all()
    # Small maps have fewer cells to spare.
    assert len(describe_cells(sample(14 * 7).reshape(14, 7, -1), projection, (70, 140))) == 12 * 7
    assert len(describe_cells(sample(1).reshape(1, 1, -1), projection, (70, 140))) == 1


def test_cells_without_a_feature_are_left_out() -> None:
    features = sample(12).reshape(3, 4, -1).copy()
    features[1, 2] = 0
    found = describe_cells(features, Projection.seeded(24, 6), (40, 30))
    assert len(found) == 11
    assert not (np.abs(found.positions - [2.5 / 4, 1.5 / 3]) < 1e-3).all(axis=1).any()


def test_the_most_telling_cells_are_those_unlike_the_rest() -> None:
    features = np.zeros((4, 5, 3), np.float32)
    features[..., 0] = 1
    features[1, 3] = [0, 1, 0]
    features[2, 0] = [0, 0, 1]
    projection = Projection(np.eye(3, dtype=np.float32))
    found = describe_cells(features, projection, (50, 40), limit=2)
    np.testing.assert_allclose(found.positions, [[0.7, 0.375], [0.1, 0.625]], atol=1e-4)
    assert uniqueness(np.zeros((0, 3), np.int8), np.zeros((0, 2), np.intp)).shape == (0,)
    assert uniqueness(np.ones((1, 3), np.int8), np.zeros((1, 2), np.intp)).tolist() == [np.inf]


def test_what_is_there_again_elsewhere_is_not_telling_but_what_its_neighbours_resemble_may_be() -> None:
    features = np.zeros((1, 20, 20), np.float32)
    features[0, :, :] = np.eye(20)
    features[0, 15] = features[0, 3]  # the same far away
    features[0, 9] = features[0, 8]  # the same beside it
    projection = Projection(np.eye(20, dtype=np.float32))
    found = describe_cells(features, projection, (200, 10), limit=14)
    chosen = np.rint(found.positions[:, 0] * 20 - 0.5).astype(int).tolist()
    assert chosen == [2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17]  # two cells at each edge are left out


def test_ties_are_broken_by_position() -> None:
    assert select_cells([1, 3, 3, 2, 3], 2).tolist() == [1, 2]
    assert select_cells([1, 3, 3, 2, 3], 9).tolist() == [0, 1, 2, 3, 4]
    assert select_cells([], 9).tolist() == []
    with pytest.raises(ValueError, match="at least 1"):
        select_cells([1.0], 0)
