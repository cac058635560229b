"""Verification of candidates: mutual nearest neighbours and the transform on which they agree, for many at once."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from tfvlad_kernels.geometry import (
    Agreement,
    as_iterations,
    as_positions,
    as_threshold,
    find_transform,
    search_transform,
)
from tfvlad_kernels.inputs import Floats, raise_not_finite
from tfvlad_kernels.jit import kernel
from tfvlad_kernels.matching import (
    Bounds,
    Matches,
    Panels,
    Rows,
    as_features_of_one_kind,
    as_panels,
    as_rows,
    find_mutual,
    has_words,
    mutual_nearest,
    read_only,
    similarity_of_key,
)
from tfvlad_kernels.threads import Counter, parallel_kernel, take


class Verification(NamedTuple):
    """What was found of each of B candidates.

    Attributes:
      inliers: (B,) int32, how many matches agree under one transform.
      scores: (B,) float32, the sum of their similarities.
      transforms: (B, 2, 3) float32, from the query view's positions to the candidate's; zeros where there is none.
    """

    inliers: npt.NDArray[np.int32]
    scores: Floats
    transforms: Floats


def verify(
    query_features: npt.ArrayLike,
    query_positions: npt.ArrayLike,
    candidate_features: npt.ArrayLike,
    candidate_positions: npt.ArrayLike,
    bounds: npt.ArrayLike,
    threshold: float,
    *,
    query_bounds: npt.ArrayLike | None = None,
    query_views: npt.ArrayLike | None = None,
    iterations: int = 1000,
    affine: bool = True,
) -> Verification:
    """Counts, for each candidate, the local features that agree with the query's under one transform.

    Matches are mutual nearest neighbours (`mutual_nearest`), transforms are found and judged by `find_transform`.
    Candidates are verified in parallel, on `numba.get_num_threads()` threads and without the GIL. What is found of one
    has the same bits on any number of threads and among any other candidates, and is what `verify_pair` gives.

    Args:
      query_features: (N, D) int8, quantised with the candidates' step, or float32, float16 or float64.
      query_positions: (N, 2) x and y.
      candidate_features: (M, D), likewise: the features of all candidates, one candidate after the other.
      candidate_positions: (M, 2) x and y.
      bounds: (B + 1,) integers: candidate b is rows bounds[b] to bounds[b + 1].
      threshold: how far off a correspondence may be, in the unit of the positions; see `find_transform`.
      query_bounds: (V + 1,) integers, likewise for views of the query; by default, all of it is one view.
      query_views: (B,) integers, the view that each candidate is matched with; by default, the first.
      iterations: how many hypotheses are tried at most for each candidate.
      affine: whether transforms may stretch and shear; otherwise they scale, turn and move.

    Returns:
      Inliers, scores and transforms of the candidates.

    Raises:
      TypeError: another dtype, or int8 on one side only.
      ValueError: another shape, bounds that do not ascend within the features, a view that there is not, a value that
        is not finite, or what `mutual_nearest` and `find_transform` refuse.
    """
    limit, most = as_threshold(threshold), as_iterations(iterations)
    queries, candidates = as_features_of_one_kind(query_features, candidate_features)
    of_queries = read_only(as_positions("query_positions", query_positions, len(queries)))
    of_candidates = read_only(as_positions("candidate_positions", candidate_positions, len(candidates)))
    limits = _as_bounds("bounds", bounds, len(candidates))
    view_limits = _as_bounds("query_bounds", [0, len(queries)] if query_bounds is None else query_bounds, len(queries))
    count = len(limits) - 1
    views = _as_views(query_views, count, len(view_limits) - 1)

    panels = [as_panels(queries[start:stop]) for start, stop in itertools.pairwise(view_limits)]
    panel_bounds = np.cumsum([0, *map(len, panels)], dtype=np.intp)
    inliers, scores = np.empty(count, np.int32), np.empty(count, np.float32)
    transforms = np.empty((count, 2, 3), np.float32)
    _verify_candidates(
        count,
        read_only(np.concatenate(panels)),
        panel_bounds,
        view_limits,
        of_queries,
        as_rows(candidates),
        limits,
        of_candidates,
        views,
        has_words(queries),
        limit,
        most,
        bool(affine),
        inliers,
        scores,
        transforms,
    )
    if not np.isfinite(scores).all():
        raise_not_finite("features", np.concatenate([queries, candidates]))
    return Verification(inliers, scores, transforms)


def verify_pair(
    query_features: npt.ArrayLike,
    query_positions: npt.ArrayLike,
    candidate_features: npt.ArrayLike,
    candidate_positions: npt.ArrayLike,
    threshold: float,
    *,
    iterations: int = 1000,
    affine: bool = True,
) -> tuple[Matches, Agreement]:
    """Shows what `verify` counts for one candidate: the matches, and which of them agree.

    The arguments are those of `verify`, for one view of the query and one candidate. The candidate's score there is the
    sum of the similarities of the matches that agree.
    """
    matches = mutual_nearest(query_features, candidate_features)
    lengths = len(np.asarray(query_features)), len(np.asarray(candidate_features))
    found = find_transform(
        as_positions("query_positions", query_positions, lengths[0])[matches.pairs[:, 0]],
        as_positions("candidate_positions", candidate_positions, lengths[1])[matches.pairs[:, 1]],
        threshold,
        matches.similarities,
        iterations=iterations,
        affine=affine,
    )
    return matches, found


def _as_bounds(name: str, bounds: npt.ArrayLike, length: int) -> Bounds:
    array = np.asarray(bounds)
    if array.ndim != 1 or len(array) < 1 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must be integers of shape (B + 1,), got {array.dtype} of shape {array.shape}")
    limits = array.astype(np.intp)
    if limits[0] < 0 or limits[-1] > length or (np.diff(limits) < 0).any():
        raise ValueError(f"{name} must ascend from 0 or more to at most the number of features, {length}")
    return limits


def _as_views(views: npt.ArrayLike | None, count: int, most: int) -> Bounds:
    array = np.zeros(count, np.intp) if views is None else np.asarray(views)
    if array.shape != (count,) or not (np.issubdtype(array.dtype, np.integer) or not count):
        raise ValueError(
            f"query_views must be one integer for each of {count} candidates, got {array.dtype} of shape {array.shape}"
        )
    if count and not 0 <= array.min() <= array.max() < most:
        raise ValueError(f"query_views must name views from 0 to {most - 1}, got {array.min()} to {array.max()}")
    return array.astype(np.intp)


@parallel_kernel
def _verify_candidates(
    workers: int,
    counter: Counter,
    candidates: int,
    panels: Panels,
    panel_bounds: Bounds,
    view_bounds: Bounds,
    query_positions: Floats,
    rows: Rows,
    bounds: Bounds,
    positions: Floats,
    views: Bounds,
    words: bool,
    threshold: np.float32,
    iterations: int,
    affine: bool,
    inliers: npt.NDArray[np.int32],
    scores: Floats,
    transforms: Floats,
) -> None:
    for _ in numba.prange(workers):
        b = take(counter)
        while b < candidates:
            view = views[b]
            inliers[b], scores[b] = _verify_candidate(
                panels[panel_bounds[view] : panel_bounds[view + 1]],
                query_positions[view_bounds[view] : view_bounds[view + 1]],
                rows[bounds[b] : bounds[b + 1]],
                positions[bounds[b] : bounds[b + 1]],
                words,
                threshold,
                iterations,
                affine,
                transforms[b],
            )
            b = take(counter)


@kernel
def _verify_candidate(
    panels: Panels,
    query_positions: Floats,
    rows: Rows,
    positions: Floats,
    words: bool,
    threshold: np.float32,
    iterations: int,
    affine: bool,
    transform: Floats,
) -> tuple[int, float]:
    """Writes the transform of one candidate; returns its inliers and their similarities' sum."""
    features = query_positions.shape[0]
    keys, nearest = np.empty(features, np.int32), np.empty(features, np.int32)
    find_mutual(panels, rows, keys, nearest)
    order, count = np.empty(features, np.int64), 0
    for i in range(features):
        if nearest[i] >= 0:
            # The largest key comes first, and of those that tie the lowest position.
            order[count] = ((2**31 - 1 - np.int64(keys[i])) << 31) | i
            count += 1
    _sort(order[:count])
    points, similarities = np.empty((4, count), np.float32), np.empty(count, np.float32)
    for m in range(count):
        i = order[m] & (2**31 - 1)
        similarities[m] = similarity_of_key(keys[i], words)
        for axis in range(2):
            points[axis, m] = query_positions[i, axis]
            points[axis + 2, m] = positions[nearest[i], axis]
    mask = np.empty(count, np.bool_)
    inliers = search_transform(points, threshold, iterations, affine, transform, mask)
    score = 0.0
    for m in range(count):
        if mask[m]:
            score += np.float64(similarities[m])
    return inliers, score


@kernel
def _sort(values: npt.NDArray[Any]) -> None:
    """Sorts integers in place (Shell 1959): for some hundreds of them, as quick as any, and soon compiled."""
    gap = values.shape[0] // 2
    while gap > 0:
        for i in range(gap, values.shape[0]):
            value, place = values[i], i
            while place >= gap and values[place - gap] > value:
                values[place] = values[place - gap]
                place -= gap
            values[place] = value
        gap = gap // 2 if gap != 2 else 1
