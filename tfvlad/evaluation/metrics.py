"""Retrieval metrics and curves: pure functions of rankings and ground truth.

Average precision is the area under the precision-recall curve by the trapezoid rule, with junk images removed from
the ranking as if they had never been indexed: the convention of Oxford/Paris (Philbin et al., CVPR 2007; revisited by
Radenovic et al., CVPR 2018) and of INRIA Holidays, not the rectangle rule that is usual in text retrieval. A ranking
may be cut short anywhere; positives beyond its end count as missed.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tfvlad.errors import ConfigError

Ids = Collection[Hashable] | npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]
RankArray = npt.NDArray[np.intp]

RECALL_LEVELS = 101  # of `interpolated_precision`: recall 0, 0.01 … 1


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """The metrics of Q queries. Means are over the queries that have a positive; they are NaN if no query has one.

    Attributes:
      queries: number of queries that have a positive and so count in the means.
      map: mean average precision.
      mrr: mean reciprocal rank of the first positive; a query whose positives are all missed adds 0.
      recall_at: k -> fraction of queries with at least one positive among the first k. This is the recall of instance
        retrieval (one hit finds the object), not the fraction of a query's positives that were found.
      mean_precision_at: k -> mean precision at k, as the revisited Oxford/Paris evaluation has it: at
        min(k, rank of the query's last positive), so that a perfect ranking scores 1 however few positives there are.
      aps: (Q,) float64, average precision of each query; NaN without a positive.
      first_ranks: (Q,) float64, rank of each query's first positive, from 1; inf where all are missed, NaN without a
        positive.
      precisions_at: k -> (Q,) float64, precision of each query, as in `mean_precision_at`; NaN without a positive.
    """

    queries: int
    map: float
    mrr: float
    recall_at: dict[int, float]
    mean_precision_at: dict[int, float]
    aps: FloatArray
    first_ranks: FloatArray
    precisions_at: dict[int, FloatArray]


def evaluate(
    rankings: Sequence[Ids] | npt.NDArray[Any],
    ground_truth: Sequence[Mapping[str, Ids]],
    kappas: Sequence[int] = (1, 5, 10),
) -> Evaluation:
    """Computes the metrics of rankings against ground truth.

    On rankings that hold all positives, every value equals that of the official code of the revisited Oxford/Paris
    benchmark. On rankings that miss positives, that code treats the last positive *retrieved* as the last of all, so
    that cutting a ranking short raises its precision at k. Here missing positives have an unknown rank beyond the end,
    so that any ranking of k images or more has the precision at k of the complete ranking.

    Args:
      rankings: Q rankings of database ids (ints or any hashables), best first; lengths may differ.
      ground_truth: Q mappings with the ids of the positives as ``ok`` and, optionally, the ids to ignore as ``junk``;
        other keys are not read.
      kappas: the cut-offs k of recall and precision.

    Returns:
      The means, and the values of each query.

    Raises:
      ConfigError: the lengths differ, an id is twice in a ranking, a ground truth has no ``ok`` or an id in both of
        its lists, or a cut-off is not a positive integer.

    Example:
      >>> metrics = evaluate([["a", "junk", "b", "c"]], [{"ok": ["a", "c"], "junk": ["junk"]}])
      >>> metrics.recall_at[1], round(metrics.map, 4)
      (1.0, 0.7917)
    """
    _require_pairs(rankings, "ground_truth", ground_truth)
    for k in kappas:
        if not isinstance(k, (int, np.integer)) or isinstance(k, bool) or k < 1:
            raise ConfigError(f"kappas must be positive integers, got {k!r}")
    aps = np.full(len(rankings), np.nan)
    first_ranks = np.full(len(rankings), np.nan)
    precisions = np.full((len(rankings), len(kappas)), np.nan)
    for query, (ranking, truth) in enumerate(zip(rankings, ground_truth, strict=True)):
        positives, junk = relevance(truth, query)
        ranks = positive_ranks(ranking, positives, junk, f"ranking {query}")
        if positives:
            aps[query] = average_precision(ranks, len(positives))
            first_ranks[query] = ranks[0] if ranks.size else np.inf
            precisions[query] = _precision_at(ranks, len(positives), kappas)
    counted = ~np.isnan(aps)
    return Evaluation(
        queries=int(counted.sum()),
        map=_mean(aps[counted]),
        mrr=_mean(1 / first_ranks[counted]),
        recall_at={int(k): _mean(first_ranks[counted] <= k) for k in kappas},
        mean_precision_at={int(k): _mean(precisions[counted, j]) for j, k in enumerate(kappas)},
        aps=aps,
        first_ranks=first_ranks,
        precisions_at={int(k): precisions[:, j] for j, k in enumerate(kappas)},
    )


def average_precision(ranks: RankArray, positives: int) -> float:
    """Computes the area under one query's precision-recall curve by the trapezoid rule (Philbin et al., CVPR 2007).

    Args:
      ranks: (R,) int, ascending ranks of the retrieved positives, counted from 1 without junk.
      positives: number of positives, retrieved or not; at least R and at least 1.

    Returns:
      A value in [0, 1].
    """
    found = np.arange(1, len(ranks) + 1)
    # Each positive adds a step of 1 / positives in recall, between the precision just before it and the one at it.
    # Before the first image of all the precision is taken as 1.
    before = np.where(ranks == 1, 1.0, (found - 1) / np.maximum(ranks - 1, 1))
    return float(np.sum(before + found / ranks) / (2 * positives))


def holidays_ap(ranking: Ids, query: Hashable, positives: Ids) -> float:
    """Computes the average precision of one query of INRIA Holidays (Jegou, Douze and Schmid, ECCV 2008).

    As in the authors' holidays_map.py, the query is one of the indexed images; it is ignored wherever it is ranked, and
    is no positive of its own.

    Args:
      ranking: database ids, best first.
      query: the query's own database id.
      positives: ids of the images of its group, with or without the query.

    Returns:
      A value in [0, 1]; NaN without a positive.

    Raises:
      ConfigError: an id is twice in the ranking.
    """
    others = set(_as_list(positives)) - {query}
    return float(evaluate([ranking], [{"ok": others, "junk": [query]}], kappas=()).aps[0])


def ns_score(rankings: Sequence[Ids] | npt.NDArray[Any], groups: Sequence[Ids]) -> float:
    """Computes the N-S score of UKBench (Nister and Stewenius, CVPR 2006).

    It is the number of images of a query's group among the first four of its ranking, averaged over the queries.

    Args:
      rankings: Q rankings of database ids, best first; the query, an indexed image, is left in.
      groups: Q collections, the ids of each query's group with the query itself (in UKBench always four).

    Returns:
      The mean over queries, in [0, 4]; NaN for no query.

    Raises:
      ConfigError: the lengths differ, or an id is twice in a ranking.
    """
    _require_pairs(rankings, "groups", groups)
    found = [
        np.sum(positive_ranks(ranking, set(_as_list(group)), set(), f"ranking {query}") <= 4)
        for query, (ranking, group) in enumerate(zip(rankings, groups, strict=True))
    ]
    return _mean(np.array(found))


def interpolated_precision(
    rankings: Sequence[Ids] | npt.NDArray[Any], ground_truth: Sequence[Mapping[str, Ids]]
) -> FloatArray:
    """Returns the best precision at each recall or any higher one.

    This is the interpolated precision of Manning, Raghavan and Schütze 2008, section 8.4.

    Args:
      rankings: see `evaluate`.
      ground_truth: see `evaluate`.

    Returns:
      (Q, RECALL_LEVELS) float64, the precision of each query at the recalls 0, 0.01 … 1: 0 at recalls that its ranking
      does not reach, NaN for a query without a positive.

    Raises:
      ConfigError: an id is twice in a ranking, or a ground truth is malformed.
    """
    curves = np.full((len(rankings), RECALL_LEVELS), np.nan)
    for query, (ranking, truth) in enumerate(zip(rankings, ground_truth, strict=True)):
        positives, junk = relevance(truth, query)
        if not positives:
            continue
        ranks = positive_ranks(ranking, positives, junk, f"ranking {query}")
        precisions = np.arange(1, len(ranks) + 1) / ranks
        best_from = np.maximum.accumulate(precisions[::-1])[::-1]
        # Positives needed for each recall, in integers, because 0.07 * 100 is more than 7.
        needed = np.maximum(-(-np.arange(RECALL_LEVELS) * len(positives) // (RECALL_LEVELS - 1)), 1)
        reached = needed <= len(ranks)
        curves[query] = 0
        curves[query, reached] = best_from[needed[reached] - 1]
    return curves


def recall_by_rank(first_ranks: FloatArray, images: int) -> tuple[FloatArray, FloatArray]:
    """Returns recall@k by k, the cumulative match curve: the share of queries with a positive among the first k.

    Args:
      first_ranks: (Q,) float64, the ranks of the first positives as `Evaluation.first_ranks` has them.
      images: the length of the rankings.

    Returns:
      (K,) float64, the ranks k at which the share changes, with 1 and `images` as the first and the last; and (K,)
      float64, the shares at these ranks. Queries without a positive do not count; NaN where no query counts.
    """
    counted = np.sort(first_ranks[~np.isnan(first_ranks)])
    ranks = np.unique(np.append(counted[counted <= images], [1, images]))
    with np.errstate(invalid="ignore"):
        return ranks, np.searchsorted(counted, ranks, side="right") / np.float64(len(counted))


def relevance(truth: Mapping[str, Ids], query: int) -> tuple[set[Hashable], set[Hashable]]:
    """Checks one ground truth and returns its positives and its junk.

    Args:
      truth: the mapping, see `evaluate`.
      query: number of the query, for messages.

    Raises:
      ConfigError: it has no ``ok``, or an id in both of its lists.
    """
    if not isinstance(truth, Mapping) or "ok" not in truth:
        raise ConfigError(f'ground truth {query} must be a mapping with its positives as "ok", got {truth!r:.60}')
    positives, junk = set(_as_list(truth["ok"])), set(_as_list(truth.get("junk", ())))
    if both := positives & junk:
        raise ConfigError(f'ground truth {query} has id {next(iter(both))!r} as "ok" and as "junk"; it can be only one')
    return positives, junk


def positive_ranks(ranking: Ids, positives: set[Hashable], junk: set[Hashable], name: str) -> RankArray:
    """Returns the ascending ranks of the retrieved positives, counted from 1, in the ranking without its junk.

    Raises:
      ConfigError: an id is twice in the ranking, which the message calls `name`.
    """
    ids = _as_list(ranking)
    places = dict(zip(ids, range(len(ids)), strict=True))
    if len(places) < len(ids):
        raise ConfigError(f"{name} must hold an id once, got {Counter(ids).most_common(1)[0][0]!r} more than once")
    positive_places, junk_places = (
        np.sort(np.array([places[id_] for id_ in wanted if id_ in places], np.intp)) for wanted in (positives, junk)
    )
    return positive_places - np.searchsorted(junk_places, positive_places) + 1


def _require_pairs(rankings: Sequence[Ids] | npt.NDArray[Any], name: str, truths: Sequence[object]) -> None:
    if len(rankings) != len(truths):
        raise ConfigError(f"{name} must have one entry per ranking, got {len(truths)} for {len(rankings)} rankings")


def _precision_at(ranks: RankArray, positives: int, kappas: Sequence[int]) -> FloatArray:
    last = float(ranks[-1]) if len(ranks) == positives else math.inf
    cutoffs = np.minimum(np.array(kappas, np.float64), last)
    return np.asarray(np.searchsorted(ranks, cutoffs, side="right") / cutoffs)


def _as_list(ids: Ids) -> list[Hashable]:
    # Python ints hash several times faster than NumPy's.
    return ids.tolist() if isinstance(ids, np.ndarray) else list(ids)


def _mean(values: npt.NDArray[Any]) -> float:
    return float(values.mean()) if values.size else math.nan
