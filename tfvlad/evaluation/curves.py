"""Curves of rankings: precision by recall, and how many queries are answered by rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tfvlad.evaluation.metrics import FloatArray, Ids, positive_ranks, relevance

LEVELS = 101  # of recall: 0, 0.01 … 1


def interpolated_precision(
    rankings: Sequence[Ids] | npt.NDArray[Any], ground_truth: Sequence[Mapping[str, Ids]]
) -> FloatArray:
    """The best precision at each recall or any higher one (Manning, Raghavan and Schütze 2008, section 8.4).

    Args:
      rankings: see `tfvlad.evaluation.metrics.evaluate`.
      ground_truth: see `tfvlad.evaluation.metrics.evaluate`.

    Returns:
      (Q, `LEVELS`) float64, a query's precision at the recalls 0, 0.01 … 1; 0 at recalls that it does not reach, NaN
      for a query without a positive.

    Raises:
      ConfigError: an id is twice in a ranking, or a ground truth is malformed.
    """
    curves = np.full((len(rankings), LEVELS), np.nan)
    for query, (ranking, truth) in enumerate(zip(rankings, ground_truth, strict=True)):
        positives, junk = relevance(truth, query)
        if not positives:
            continue
        ranks = positive_ranks(ranking, positives, junk, f"ranking {query}")
        precisions = np.arange(1, len(ranks) + 1) / ranks
        best_from = np.maximum.accumulate(precisions[::-1])[::-1]
        # In integers, because 0.07 * 100 is more than 7.
        needed = np.maximum(-(-np.arange(LEVELS) * len(positives) // (LEVELS - 1)), 1)
        reached = needed <= len(ranks)
        curves[query] = 0
        curves[query, reached] = best_from[needed[reached] - 1]
    return curves


def recall_by_rank(first_ranks: FloatArray, images: int) -> tuple[FloatArray, FloatArray]:
    """The cumulative match curve: the share of queries with a right answer among the first k, which is recall at k.

    Args:
      first_ranks: (Q,) float64, as `tfvlad.evaluation.metrics.Evaluation` has them.
      images: how many a ranking holds.

    Returns:
      (K,) float64, the ranks k at which the share changes, between 1 and `images`, which are among them; and (K,)
      float64, the shares there. Queries without a positive do not count; NaN where none does.
    """
    counted = np.sort(first_ranks[~np.isnan(first_ranks)])
    ranks = np.unique(np.append(counted[counted <= images], [1, images]))
    with np.errstate(invalid="ignore"):
        return ranks, np.searchsorted(counted, ranks, side="right") / np.float64(len(counted))
