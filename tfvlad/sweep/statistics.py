"""Confidence intervals by the percentile bootstrap over queries (Efron and Tibshirani 1993, chapter 13).

All settings of a study have the same queries. Differences are therefore taken query by query before they are resampled,
so that queries that are hard for every setting do not widen the intervals.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

RESAMPLES = 10_000
DRAWS = 2_000_000  # values held at a time: 16 MB for each of a few arrays


class Difference(NamedTuple):
    """How much better one setting is than another, on average over the queries.

    Attributes:
      mean: the mean difference.
      low: lower end of its confidence interval; NaN with fewer than two queries.
      high: upper end of the interval.
    """

    mean: float
    low: float
    high: float


def interval(values: npt.ArrayLike, seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """The confidence interval of a mean.

    Args:
      values: (Q,) float, one for each query; NaN is left out.
      seed: of the resamples.
      level: confidence, in (0, 1).

    Returns:
      The lower and upper end; NaN if fewer than two queries have a value, as one query says nothing about others.
    """
    return intervals(np.asarray(values, np.float64)[None], seed, level)[0]


def intervals(values: Values, seed: int = 0, level: float = 0.95) -> list[tuple[float, float]]:
    """The `interval` of each of several settings, all from the same resamples.

    Args:
      values: (N, Q) float64, N settings by Q queries; NaN is left out in its row.
      seed: of the resamples.
      level: confidence, in (0, 1).

    Returns:
      N pairs of lower and upper end.
    """
    known = _known(values)
    means = [_means(known, counts) for counts in _resamples(known.shape[1], seed)]
    return [_bounds(samples, level) for samples in np.concatenate(means or [np.full((1, len(values)), np.nan)]).T]


def difference(a: npt.ArrayLike, b: npt.ArrayLike, seed: int = 0, level: float = 0.95) -> Difference:
    """By how much `a` is better than `b`, compared query by query.

    Args:
      a: (Q,) float, one for each query; queries that are NaN in `a` or `b` are left out.
      b: (Q,) float, for the same queries.
      seed: of the resamples.
      level: confidence, in (0, 1).

    Returns:
      The mean of `a` - `b` and its interval.
    """
    gains = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    known = gains[~np.isnan(gains)]
    return Difference(float(known.mean()) if len(known) else np.nan, *interval(gains, seed, level))


def best_of(values: Values, seed: int = 0, level: float = 0.95) -> tuple[float, float, float]:
    """The mean of the best of several settings, chosen by other queries than it is measured on.

    Choosing and measuring on the same queries would give too high a mean. In each resample the best setting is chosen
    anew, and measured on the queries that the resample left out: the "bootstrap bias corrected" estimate of
    Tsamardinos, Greasidou and Borboudakis (Machine Learning 107, 2018, section 3). About a third of the queries is left
    out each time, so that the interval is rather too wide than too narrow.

    Args:
      values: (N, Q) float64, N >= 1 settings by Q queries.
      seed: of the resamples.
      level: confidence, in (0, 1).

    Returns:
      The mean and the lower and upper end of its interval; NaN if fewer than two queries have a value.
    """
    known = _known(values)
    measured = [np.full(1, np.nan)]
    for counts in _resamples(known.shape[1], seed):
        inside = _means(known, counts)
        best = np.where(np.isnan(inside), -np.inf, inside).argmax(axis=1)
        outside = _means(known, (counts == 0).astype(np.float64))
        measured.append(np.take_along_axis(outside, best[:, None], axis=1)[:, 0])
    samples = np.concatenate(measured)
    kept = samples[~np.isnan(samples)]
    return (float(kept.mean()) if len(kept) else np.nan, *_bounds(samples, level))


def _known(values: Values) -> Values:
    """Leaves out the queries that no setting has a value for."""
    return values[:, ~np.isnan(values).all(axis=0)]


def _resamples(queries: int, seed: int) -> Iterator[Values]:
    """How often each query is drawn: blocks of (R, Q) float64, `RESAMPLES` rows in all; none for a single query."""
    if queries < 2:
        return
    generator = np.random.default_rng(seed)
    rows = max(1, DRAWS // queries)
    for start in range(0, RESAMPLES, rows):
        number = min(rows, RESAMPLES - start)
        drawn = generator.integers(queries, size=(number, queries)) + queries * np.arange(number)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=number * queries)
        yield counts.reshape(number, queries).astype(np.float64)


def _means(values: Values, weights: Values) -> Values:
    """Weighted means of each row's known values: (N, Q), (R, Q) -> (R, N); NaN if no known value has a weight."""
    known = ~np.isnan(values)
    sums = weights @ np.where(known, values, 0).T
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / (weights @ known.T.astype(np.float64)), np.float64)


def _bounds(samples: Values, level: float) -> tuple[float, float]:
    known = samples[~np.isnan(samples)]
    if not len(known):
        return np.nan, np.nan
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
