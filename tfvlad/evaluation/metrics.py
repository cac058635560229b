"""Retrieval metrics: pure functions of rankings and ground truth.

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


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate` measures, for Q queries. Means are over the queries that have a positive, NaN if none has.

    Attributes:
      queries: how many queries have a positive, that is, are counted in the means.
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
    """Measures rankings against ground truth.

    On rankings that hold all positives every value equals that of the official code of the revisited Oxford/Paris
    benchmark. Where positives are missing that code takes the last one *retrieved* for the last positive, so that
    cutting a ranking short raises its precision at k; here their rank is unknown but beyond the end, so that a ranking
    of k images or more has the precision at k of the whole ranking.

    Args:
      rankings: Q rankings of database ids (ints or any hashables), best first; lengths may differ.
      ground_truth: Q mappings with the ids of the positives as ``ok`` and, optionally, the ids to ignore as ``junk``;
        other keys are not read.
      kappas: the cut-offs k of recall and precision.

    Returns:
      The means and the values of each query.

    Raises:
      ConfigError: the lengths differ, an id is twice in a ranking, a ground truth has no ``ok`` or an id in both of
        its lists, or a cut-off is not a positive integer.
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
    """Area under one query's precision-recall curve, by the trapezoid rule (Philbin et al., CVPR 2007).

    Args:
      ranks: (R,) int, the ranks of the retrieved positives, from 1, ascending, junk not counted.
      positives: how many positives there are, retrieved or not; at least R and at least 1.

    Returns:
      A value in [0, 1].
    """
    found = np.arange(1, len(ranks) + 1)
    # Each positive adds a step of 1 / positives in recall, between the precision just before it and the one at it.
    # Before the first image of all the precision is taken as 1.
    before = np.where(ranks == 1, 1.0, (found - 1) / np.maximum(ranks - 1, 1))
    return float(np.sum(before + found / ranks) / (2 * positives))


def holidays_ap(ranking: Ids, query: Hashable, positives: Ids) -> float:
    """Average precision of one query of INRIA Holidays (Jegou, Douze and Schmid, ECCV 2008), as holidays_map.py has it.

    The query is one of the indexed images. It is ignored wherever it is ranked, and is no positive of its own.

    Args:
      ranking: database ids, best first.
      query: the query's own database id.
      positives: ids of the images of its group; the query need not be left out.

    Returns:
      A value in [0, 1]; NaN without a positive.

    Raises:
      ConfigError: an id is twice in the ranking.
    """
    others = set(_as_list(positives)) - {query}
    return float(evaluate([ranking], [{"ok": others, "junk": [query]}], kappas=()).aps[0])


def ns_score(rankings: Sequence[Ids] | npt.NDArray[Any], groups: Sequence[Ids]) -> float:
    """Score of UKBench (Nister and Stewenius, CVPR 2006): how many of a query's group are among its first four.

    Args:
      rankings: Q rankings of database ids, best first; the query, an indexed image, is left in.
      groups: Q collections, the ids of the query's group, the query among them (in UKBench always four).

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


def _require_pairs(rankings: Sequence[Ids] | npt.NDArray[Any], name: str, truths: Sequence[object]) -> None:
    if len(rankings) != len(truths):
        raise ConfigError(f"{name} must have one entry per ranking, got {len(truths)} for {len(rankings)} rankings")


def relevance(truth: Mapping[str, Ids], query: int) -> tuple[set[Hashable], set[Hashable]]:
    """A ground truth's positives and its junk, checked; `query` is its number, for messages."""
    if not isinstance(truth, Mapping) or "ok" not in truth:
        raise ConfigError(f'ground truth {query} must be a mapping with its positives as "ok", got {truth!r:.60}')
    positives, junk = set(_as_list(truth["ok"])), set(_as_list(truth.get("junk", ())))
    if both := positives & junk:
        raise ConfigError(f'ground truth {query} has id {next(iter(both))!r} as "ok" and as "junk"; it can be only one')
    return positives, junk


def positive_ranks(ranking: Ids, positives: set[Hashable], junk: set[Hashable], name: str) -> RankArray:
    """Ranks of the retrieved positives, from 1, ascending, in the ranking without its junk."""
    ids = _as_list(ranking)
    places = dict(zip(ids, range(len(ids)), strict=True))
    if len(places) < len(ids):
        raise ConfigError(f"{name} must hold an id once, got {Counter(ids).most_common(1)[0][0]!r} more than once")
    positive_places, junk_places = (
        np.sort(np.array([places[id_] for id_ in wanted if id_ in places], np.intp)) for wanted in (positives, junk)
    )
    return positive_places - np.searchsorted(junk_places, positive_places) + 1


def _precision_at(ranks: RankArray, positives: int, kappas: Sequence[int]) -> FloatArray:
    last = float(ranks[-1]) if len(ranks) == positives else math.inf
    cutoffs = np.minimum(np.array(kappas, np.float64), last)
    return np.asarray(np.searchsorted(ranks, cutoffs, side="right") / cutoffs)


def _as_list(ids: Ids) -> list[Hashable]:
    # Python ints hash several times faster than NumPy's.
    return ids.tolist() if isinstance(ids, np.ndarray) else list(ids)


def _mean(values: npt.NDArray[Any]) -> float:
    return float(values.mean()) if values.size else math.nan
