from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfvlad_kernels import assign, cluster_sums, encode_vlad

GOOD = np.ones((2, 3, 4), np.float32)
CENTROIDS = np.eye(4, dtype=np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: encode_vlad(GOOD.astype(int), CENTROIDS),
            TypeError,
            "features must be float16, float32 or float64, got int64",
        ),
        (
            lambda: encode_vlad(GOOD * 1j, CENTROIDS),
            TypeError,
            "features must be float16, float32 or float64, got complex64",
        ),
        (
            lambda: encode_vlad(GOOD.astype(object), CENTROIDS),
            TypeError,
            "features must be float16, float32 or float64, got object",
        ),
        (
            lambda: encode_vlad(GOOD[0], CENTROIDS),
            ValueError,
            "features must have shape (B, N, D) or be a list of (N, D) arrays, got shape (3, 4)",
        ),
        (
            lambda: encode_vlad(GOOD[:, :, :3], CENTROIDS),
            ValueError,
            "features must have D=4 columns like the centroids, got shape (2, 3, 3)",
        ),
        (
            lambda: encode_vlad([GOOD[0], GOOD], CENTROIDS),
            ValueError,
            "features[1] must have shape (N, D), got shape (2, 3, 4)",
        ),
        (
            lambda: encode_vlad([GOOD[0], GOOD[0, :, :3]], CENTROIDS),
            ValueError,
            "features[1] must have D=4 columns like the centroids, got shape (3, 3)",
        ),
        (
            lambda: encode_vlad([GOOD[0], GOOD[0] > 0], CENTROIDS),
            TypeError,
            "features[1] must be float16, float32 or float64, got bool",
        ),
        (
            lambda: encode_vlad(GOOD, CENTROIDS > 0),
            TypeError,
            "centroids must be float16, float32 or float64, got bool",
        ),
        (lambda: encode_vlad(GOOD, CENTROIDS[0]), ValueError, "centroids must have shape (K, D), got shape (4,)"),
        (
            lambda: encode_vlad(GOOD, CENTROIDS[:0]),
            ValueError,
            "centroids must have at least one row and one column, got shape (0, 4)",
        ),
        (
            lambda: encode_vlad(GOOD, CENTROIDS[:, :0]),
            ValueError,
            "centroids must have at least one row and one column, got shape (4, 0)",
        ),
        (lambda: encode_vlad(GOOD, CENTROIDS, power=0), ValueError, "power must be above 0 and at most 1, got 0"),
        (lambda: encode_vlad(GOOD, CENTROIDS, power=1.5), ValueError, "power must be above 0 and at most 1, got 1.5"),
        (
            lambda: encode_vlad(GOOD, CENTROIDS, power=np.nan),
            ValueError,
            "power must be above 0 and at most 1, got nan",
        ),
        (
            lambda: encode_vlad(GOOD, CENTROIDS, power="1"),
            TypeError,
            "power must be a number above 0 and at most 1, got '1'",
        ),
        (
            lambda: encode_vlad(GOOD, CENTROIDS, power=True),
            TypeError,
            "power must be a number above 0 and at most 1, got True",
        ),
        (
            lambda: encode_vlad(GOOD, CENTROIDS, out=np.empty((2, 16))),
            TypeError,
            "out must be a float32 array, got float64",
        ),
        (
            lambda: encode_vlad(GOOD, CENTROIDS, out=[[0.0] * 16] * 2),
            TypeError,
            "out must be a float32 array, got list",
        ),
        (
            lambda: encode_vlad(GOOD, CENTROIDS, out=np.empty((2, 4, 4), np.float32)),
            ValueError,
            "out must have shape (2, 16), got shape (2, 4, 4)",
        ),
        (
            lambda: encode_vlad(GOOD, CENTROIDS, out=np.empty((2, 32), np.float32)[:, ::2]),
            ValueError,
            "out must be writeable, aligned and in C order, without gaps",
        ),
        (
            lambda: encode_vlad(GOOD, CENTROIDS, out=np.broadcast_to(np.float32(0), (2, 16))),
            ValueError,
            "out must be writeable, aligned and in C order, without gaps",
        ),
        (lambda: assign(GOOD, CENTROIDS), ValueError, "features must have shape (N, D), got shape (2, 3, 4)"),
        (
            lambda: assign(GOOD[0, :, :3], CENTROIDS),
            ValueError,
            "features must have D=4 columns like the centroids, got shape (3, 3)",
        ),
        (lambda: cluster_sums(GOOD, CENTROIDS), ValueError, "features must have shape (N, D), got shape (2, 3, 4)"),
        (
            lambda: cluster_sums(GOOD[0], CENTROIDS * np.nan),
            ValueError,
            "centroids must be finite, got NaN or Inf in 4 of 4 rows, first in row 0",
        ),
    ],
)
def test_refusals(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("images", [1, 7])
def test_features_that_are_not_finite_name_their_image(bad: float, dtype: type, images: int) -> None:
    features = np.zeros((images, 9, 4), dtype)
    features[images - 1, 2:4, 1] = bad
    message = rf"^features\[{images - 1}\] must be finite, got NaN or Inf in 2 of 9 rows, first in row 2$"
    for batch in (features, list(features)):
        with pytest.raises(ValueError, match=message):
            encode_vlad(batch, CENTROIDS)
    with pytest.raises(ValueError, match=r"^features must be finite"):
        assign(features[-1], CENTROIDS)


def test_infinite_features_where_all_centroids_are_zero() -> None:
    features = np.zeros((1, 5, 4))
    features[0, 3, 3] = np.inf
    with pytest.raises(ValueError, match=r"^features\[0\] must be finite"):
        encode_vlad(features, np.zeros((2, 4)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_centroids_that_are_not_finite(bad: float) -> None:
    centroids = CENTROIDS.copy()
    centroids[2, 3] = bad
    with pytest.raises(ValueError, match=r"^centroids must be finite, got NaN or Inf in 1 of 4 rows, first in row 2$"):
        encode_vlad(GOOD, centroids)


def test_values_beyond_float32() -> None:
    # 1e200 is no float32; the square of 1e25 is not, either; nor is the product of 1e38 and 1e3.
    message = "must be small enough for float32 arithmetic, got magnitudes up to "
    with pytest.raises(ValueError, match=re.escape(f"features[1] {message}1e+200")):
        encode_vlad([GOOD[0], np.full((3, 4), 1e200)], CENTROIDS)
    with pytest.raises(ValueError, match=re.escape(f"centroids {message}1e+25")):
        encode_vlad(GOOD, CENTROIDS * np.float32(1e25))
    with pytest.raises(ValueError, match=re.escape(f"features[0] {message}1e+38")):
        encode_vlad(GOOD * np.float32(1e38), CENTROIDS * 1e3)


def test_sums_beyond_float32() -> None:
    # Each score and each difference is a float32, the sum of ten is not.
    features = np.full((1, 10, 1), 1e38, np.float32)
    with pytest.raises(ValueError, match=r"features\[0\] must be small enough for float32 arithmetic"):
        encode_vlad(features, np.zeros((1, 1)))
