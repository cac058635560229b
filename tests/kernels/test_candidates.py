from __future__ import annotations

import numba
import numpy as np
import pytest

from tfvlad_kernels import candidates
from tfvlad_kernels.microkernel import LANES

# Each function is called as NumPy code, as it stands, and as what Numba compiles it to.
bound_scores = numba.njit(lambda p, i, c, f, h: candidates.bound_scores(p, i, c, f, h))
lanes_from = numba.njit(lambda values, first, floor: candidates.lanes_from(values, first, floor))
lowest_bit = numba.njit(lambda bits: candidates.lowest_bit(bits))
inner_product = numba.njit(lambda x, i, c, k: candidates.inner_product(x, i, c, k))


@pytest.mark.parametrize("function", [candidates.bound_scores, bound_scores])
def test_bound_scores(function) -> None:
    generator = np.random.default_rng(0)
    products = generator.integers(-9, 10, (3, 2 * LANES)).astype(np.int32)
    scale, total, bias, norm, error, slack = terms = generator.integers(-9, 10, (6, 2 * LANES)).astype(np.float32)
    step, zero, lost, length = 2, 3, 5, 7
    features = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [step, zero, lost, length]], np.float32)
    highest = np.empty(2 * LANES, np.float32)
    floor = function(products, 2, terms, features, highest)

    score = products[2] * scale * step + zero * total + bias
    bound = lost * norm + length * error + slack
    np.testing.assert_array_equal(highest, score + bound)
    assert floor == np.max(score - bound)


@pytest.mark.parametrize("function", [candidates.bound_scores, bound_scores])
def test_nothing_reaches_bounds_that_are_not_numbers(function) -> None:
    highest = np.empty(LANES, np.float32)
    terms, features = np.ones((6, LANES), np.float32), np.full((1, 4), np.nan, np.float32)
    floor = function(np.ones((1, LANES), np.int32), 0, terms, features, highest)
    assert not (highest >= floor).any()


@pytest.mark.parametrize("function", [candidates.lanes_from, lanes_from])
def test_lanes_from(function) -> None:
    values = np.zeros(3 * LANES, np.float32)
    values[[0, LANES, LANES + 2, 2 * LANES - 1, 2 * LANES]] = 5
    values[LANES + 1] = np.nan
    assert function(values, LANES, np.float32(5)) == 1 | 1 << 1 | 1 << 2 | 1 << (LANES - 1)  # NaN may be anything
    assert function(values, LANES, np.float32(np.nan)) == (1 << LANES) - 1


@pytest.mark.parametrize("function", [candidates.lowest_bit, lowest_bit])
def test_lowest_bit(function) -> None:
    assert [function(bits) for bits in (1, 2, 12, 1 << 31, 3 << 30)] == [0, 1, 2, 31, 30]


@pytest.mark.parametrize("function", [candidates.inner_product, inner_product])
@pytest.mark.parametrize("depth", [1, LANES - 1, LANES, LANES + 1, 5 * LANES])
def test_inner_product(function, depth: int) -> None:
    generator = np.random.default_rng(0)
    features, centroids = (generator.integers(-9, 10, (3, depth)).astype(np.float32) for _ in range(2))
    assert function(features, 1, centroids, 2) == features[1] @ centroids[2]
