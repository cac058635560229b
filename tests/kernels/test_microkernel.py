from __future__ import annotations

import numba
import numpy as np
import pytest

from tfvlad_kernels import microkernel
from tfvlad_kernels.microkernel import HALF_LANES, LANES, ROWS

# Each function is called as NumPy code, as it stands, and as what Numba compiles it to.
best_lane = numba.njit(lambda scores, slot: microkernel.best_lane(scores, slot))
score_panel = numba.njit(lambda x, o, i, p, j, s, c, a: microkernel.score_panel(x, o, i, p, j, s, c, a))
score_half_panel = numba.njit(lambda x, o, i, p, j, s, c, a: microkernel.score_half_panel(x, o, i, p, j, s, c, a))


@pytest.mark.parametrize("function", [microkernel.best_lane, best_lane])
def test_best_lane(function) -> None:
    scores = np.full((4, 2 * LANES), -2, np.float32)
    scores[0, [3, LANES + 3, LANES + 1]] = 7  # a tie within a lane and between lanes
    scores[1, [5, LANES]] = np.nan, 1
    scores[2] = np.nan
    scores[3, LANES + 2] = np.inf
    assert [function(scores, slot) for slot in range(4)] == [3, LANES, -1, -1]
    assert function(np.full((1, LANES), -np.inf, np.float32), 0) == -1


@pytest.mark.parametrize(
    ("function", "lanes"),
    [
        (microkernel.score_panel, LANES),
        (score_panel, LANES),
        (microkernel.score_half_panel, HALF_LANES),
        (score_half_panel, HALF_LANES),
    ],
)
def test_score(function, lanes: int) -> None:
    generator = np.random.default_rng(0)
    features = generator.integers(-4, 5, (ROWS + 1, 9)).astype(np.float32)
    panels = generator.integers(-4, 5, (3, 10, LANES)).astype(np.float32)
    scores = np.full((ROWS + 2, 3 * LANES), 99, np.float32)
    order = np.array([0, *range(2, ROWS + 1), 1, 1])
    function(features, order, 1, panels, 1, scores, features, 2)

    expected = np.full_like(scores, 99)
    rows = features[order[1 : ROWS + 1]]
    expected[1 : ROWS + 1, LANES : LANES + lanes] = (rows @ panels[1, :9] + panels[1, 9])[:, :lanes]
    np.testing.assert_array_equal(scores, expected)
