from __future__ import annotations

import numba
import numpy as np
import pytest

from tfvlad_kernels import codes
from tfvlad_kernels.codes import DEEPEST, HAS_BYTE_PRODUCTS
from tfvlad_kernels.microkernel import HALF_LANES, LANES, ROWS

# Each function is called as NumPy code, as it stands, and as what Numba compiles it to.
multiply_panel = numba.njit(lambda x, o, i, p, j, s, c, a: codes.multiply_panel(x, o, i, p, j, s, c, a))
multiply_half_panel = numba.njit(lambda x, o, i, p, j, s, c, a: codes.multiply_half_panel(x, o, i, p, j, s, c, a))
needs_them = pytest.mark.skipif(not HAS_BYTE_PRODUCTS, reason="the processor does not multiply bytes")


@pytest.mark.parametrize(
    ("function", "lanes"),
    [
        (codes.multiply_panel, LANES),
        (codes.multiply_half_panel, HALF_LANES),
        pytest.param(multiply_panel, LANES, marks=needs_them),
        pytest.param(multiply_half_panel, HALF_LANES, marks=needs_them),
    ],
)
@pytest.mark.parametrize("groups", [1, 7])
def test_multiply(function, lanes: int, groups: int) -> None:
    generator = np.random.default_rng(0)
    bytes_of_rows = generator.integers(0, 256, (ROWS + 1, 4 * groups), np.uint8)
    bytes_of_panels = generator.integers(-127, 128, (3, groups + 1, LANES, 4), np.int8)
    panels = bytes_of_panels.view(np.int32)[..., 0]
    panels[:, -1] = np.arange(LANES)
    products = np.full((ROWS + 2, 3 * LANES), 99, np.int32)
    order = np.array([0, *range(2, ROWS + 1), 1, 1])
    function(bytes_of_rows.view(np.int32), order, 1, panels, 1, products, np.zeros((2, 4 * groups), np.float32), 0)

    expected = np.full_like(products, 99)
    columns = bytes_of_panels[1, :-1].transpose(0, 2, 1).reshape(4 * groups, LANES).astype(np.int64)
    product = bytes_of_rows[order[1 : ROWS + 1]] @ columns + np.arange(LANES)
    expected[1 : ROWS + 1, LANES : LANES + lanes] = product[:, :lanes]
    np.testing.assert_array_equal(products, expected)


@needs_them
def test_the_deepest_product_does_not_overflow() -> None:
    groups = DEEPEST // 4
    rows = np.full((ROWS, 4 * groups), 255, np.uint8).view(np.int32)
    panels = np.full((1, groups + 1, LANES, 4), -127, np.int8).view(np.int32)[..., 0]
    panels[:, -1] = 0
    products = np.zeros((ROWS, LANES), np.int32)
    multiply_panel(rows, np.arange(ROWS), 0, panels, 0, products, np.zeros((1, 4), np.float32), 0)
    assert (products == -127 * 255 * 4 * groups).all()
