from __future__ import annotations

import math

import numpy as np
import pytest

from tfvlad_kernels.normalization import normalize


def normalized(rows: list[list[float]], intra_norm: bool, power: float) -> np.ndarray:
    vlad = np.array(rows, np.float32)
    assert normalize(vlad, np.ones(len(rows), np.intp), intra_norm, power)
    return vlad


def test_l2_by_hand() -> None:
    # 3² + 4² + 12² = 13².
    vlad = normalized([[3, 0], [0, -4], [12, 0]], intra_norm=False, power=1)
    np.testing.assert_allclose(vlad, np.array([[3, 0], [0, -4], [12, 0]]) / 13, rtol=1e-6)


def test_intra_by_hand() -> None:
    # Rows to unit length: (3, 4) / 5, (0, 0), (0, -1). Their norm together is sqrt(2).
    vlad = normalized([[3, 4], [0, 0], [0, -7]], intra_norm=True, power=1)
    np.testing.assert_allclose(vlad, np.array([[0.6, 0.8], [0, 0], [0, -1]]) / math.sqrt(2), rtol=1e-6)


@pytest.mark.parametrize("power", [0.5, 0.25])
def test_power_comes_between_intra_and_l2(power: float) -> None:
    # First (0.6, -0.8) and (0, 1), then the power of each, then the norm of all of them. The power of (3, -4) and
    # (0, 7) followed by intra-normalisation would leave other proportions within the first row.
    powered = np.array([[0.6**power, -(0.8**power)], [0, 1]])
    vlad = normalized([[3, -4], [0, 7]], intra_norm=True, power=power)
    np.testing.assert_allclose(vlad, powered / np.linalg.norm(powered), rtol=1e-6)


def test_power_without_intra_by_hand() -> None:
    # Roots: 3, -4, 0, 12, whose norm is 13.
    vlad = normalized([[9, -16], [0, 144]], intra_norm=False, power=0.5)
    np.testing.assert_allclose(vlad, np.array([[3, -4], [0, 12]]) / 13, rtol=1e-6)


@pytest.mark.parametrize("intra_norm", [True, False])
@pytest.mark.parametrize("power", [1, 0.5])
def test_zeros_stay_zero(intra_norm: bool, power: float) -> None:
    assert not normalized([[0, 0], [0, 0]], intra_norm, power).any()


@pytest.mark.parametrize("power", [1, 0.5])
def test_clusters_without_a_feature_are_zeroed(power: float) -> None:
    vlad = np.array([[np.nan, 7], [0, 3]], np.float32)
    assert normalize(vlad, np.array([0, 1]), True, power)
    assert vlad.tolist() == [[0, 0], [0, 1]]


@pytest.mark.parametrize("size", [1e-44, 1e-30, 1e30, 3e38])
def test_neither_underflow_nor_overflow(size: float) -> None:
    vlad = normalized([[size, 0], [0, -size]], intra_norm=True, power=1)
    np.testing.assert_allclose(vlad, np.array([[1, 0], [0, -1]]) / math.sqrt(2), rtol=1e-6)


@pytest.mark.parametrize("intra_norm", [True, False])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_not_finite(value: float, intra_norm: bool) -> None:
    vlad = np.array([[1, value], [1, 1]], np.float32)
    assert not normalize(vlad, np.ones(2, np.intp), intra_norm, 1.0)
