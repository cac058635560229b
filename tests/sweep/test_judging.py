"""What a number of dimensions gives does not depend on which others are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfvlad.encoding import whitening
from tfvlad.evaluation.datasets import DatabaseImage, Dataset, Query
from tfvlad.sweep import _judging
from tfvlad.sweep._plan import Roles


def judged(rows: np.ndarray, dims: list[int], shrinkage: float = 0.0) -> dict[int, Any]:
    places = np.arange(len(rows))
    images = [DatabaseImage(str(place), str(place), place) for place in places]
    truths = [{"ok": [place], "junk": []} for place in places]
    dataset = Dataset([Query(str(Path(image.path))) for image in images], {"all": truths}, images)
    empty = lambda shape: np.empty(shape, np.float32)  # noqa: E731
    found = _judging.judge_dims(rows, Roles(places, places, places), dataset, dims, 0, empty, shrinkage)
    return {dim: (each if isinstance(each, str) else each.top.tolist()) for dim, each in found}


@pytest.fixture
def rows() -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(60, 24)).astype(np.float32)
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The dimensions that a whitening is fitted with."""
    dims: list[int] = []

    def fit(sample: Any, dim: int, seed: int) -> whitening.Whitening:
        dims.append(dim)
        return whitening.fit_whitening(sample, dim, seed)

    monkeypatch.setattr(_judging, "fit_whitening", fit)
    return dims


def test_shrunk_dimensions_are_those_of_a_whitening_of_their_own(rows: np.ndarray) -> None:
    places = np.arange(len(rows))
    together = judged(rows, [4, 8, 16], shrinkage=0.7)
    assert together != judged(rows, [4, 8, 16])
    for dim in (4, 8, 16):
        projection, offset = whitening.fit_whitening(rows, dim, 0).shrunk(0.7).folded()
        white = rows @ projection - offset
        white /= np.linalg.norm(white, axis=1, keepdims=True)
        expected = np.argsort(-(white @ white.T), axis=1, kind="stable")
        found = np.array(together[dim])
        assert (found == places[expected[:, : found.shape[1]]]).mean() > 0.99  # ties are broken by rounding


def test_an_exact_whitening_is_fitted_once(rows: np.ndarray, fitted: list[int]) -> None:
    together = judged(rows, [0, 4, 8, 16, 25])
    assert fitted == [25, 16]  # 24 numbers do not have 25 dimensions
    assert "dim=25 is too large" in together[25]
    assert together == {dim: judged(rows, [dim])[dim] for dim in together}


def test_a_randomised_one_is_fitted_for_each(
    rows: np.ndarray, fitted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("_EXACT_UP_TO", 4), ("_KRYLOV_BLOCKS", 2), ("_OVERSAMPLING", 1)):
        monkeypatch.setattr(whitening, name, value)
    together = judged(rows, [0, 4, 8, 12, 16])  # 24 numbers: from 2 x (11 + 1) on it is exact
    assert fitted == [16, 8, 4]
    assert together == {dim: judged(rows, [dim])[dim] for dim in together}
