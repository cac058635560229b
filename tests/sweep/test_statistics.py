"""Intervals: against hand-checkable cases, SciPy's bootstrap, and what must hold for any values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tfvlad.sweep.statistics import best_of, difference, interval, intervals

some_values = hnp.arrays(np.float64, st.integers(2, 12), elements=st.floats(0, 1, width=16))
few = settings(max_examples=25, deadline=None)


def test_two_queries_give_the_interval_of_a_coin() -> None:
    # The mean of two draws from {0, 1} is 0, 1/2, 1/2 or 1, each in a quarter of the resamples.
    assert interval([0.0, 1.0]) == (0.0, 1.0)
    assert interval([0.0, 1.0], level=0.4) == (0.5, 0.5)


def test_the_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(1).beta(0.5, 1, 80)
    theirs = scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10_000, rng=2)
    assert interval(values) == pytest.approx(tuple(theirs.confidence_interval), abs=0.005)


def test_equal_values_have_no_width_and_nan_is_left_out() -> None:
    assert interval([0.3, np.nan, 0.3, 0.3]) == pytest.approx((0.3, 0.3))
    assert interval([0.0, np.nan, 1.0, 0.5]) == interval([0.0, 1.0, 0.5])


@pytest.mark.parametrize("values", [[], [0.5], [np.nan, 0.5], [np.nan, np.nan]])
def test_less_than_two_queries_say_nothing_of_others(values: list[float]) -> None:
    assert np.isnan(interval(values)).all()
    assert np.isnan(difference(values, values)[1:]).all()
    assert np.isnan(best_of(np.array([values, values]))).all()


@few
@given(some_values, st.integers(0, 5))
def test_an_interval_is_ordered_inside_the_values_and_reproducible(values: npt.NDArray[np.float64], seed: int) -> None:
    low, high = interval(values, seed)
    assert values.min() - 1e-9 <= low <= high <= values.max() + 1e-9
    assert (low, high) == interval(values, seed)
    narrow = interval(values, seed, level=0.5)
    assert low <= narrow[0] <= narrow[1] <= high


@few
@given(some_values, st.floats(-1, 1, width=16))
def test_a_constant_shift_is_a_certain_difference(values: npt.NDArray[np.float64], shift: float) -> None:
    assert difference(values + shift, values) == pytest.approx((shift,) * 3, abs=1e-9)


@few
@given(some_values)
def test_rows_together_are_rows_alone(values: npt.NDArray[np.float64]) -> None:
    rows = np.stack([values, values[::-1], values / 2])
    assert np.asarray(intervals(rows)) == pytest.approx(np.asarray([interval(row) for row in rows]))


def test_pairing_takes_out_what_is_hard_for_both() -> None:
    generator = np.random.default_rng(0)
    hard = generator.uniform(size=100)
    better = hard + 0.02 + generator.normal(scale=0.01, size=100)
    gain = difference(better, hard)
    assert gain.low > 0.015
    assert interval(better)[0] < interval(hard)[1]  # unpaired, they could not be told apart


def test_the_best_of_equals_is_not_flattered() -> None:
    noise = np.random.default_rng(3).normal(size=(20, 60))  # twenty settings without any difference
    mean, low, high = best_of(noise)
    assert noise.mean(axis=1).max() > 0.2
    assert mean < 0.15
    assert low < 0 < high


def test_a_clear_best_is_chosen_every_time() -> None:
    assert best_of(np.array([[0.1] * 9, [0.9] * 9, [0.5] * 9])) == pytest.approx((0.9, 0.9, 0.9))


def test_many_queries_are_drawn_in_blocks() -> None:
    values = np.random.default_rng(0).uniform(size=3001)
    low, high = interval(values)
    error = values.std() / np.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.1 * error)
