"""The affine transform under which most correspondences of two images agree, found by RANSAC.

Hypotheses go through two or three correspondences, drawn among the most similar first (Chum and Matas, CVPR 2005,
"Matching with PROSAC"); every one that is the best so far is fitted to what agrees with it (Chum, Matas and Kittler,
DAGM 2003, "Locally optimized RANSAC"). A correspondence votes the more the smaller its error is (MSAC; Torr and
Zisserman, CVIU 2000). Votes are whole numbers, and nothing is summed in an order that a compiler may choose, so that
the result is the same bits wherever it is computed. The seed is always the same.

Positions may be off in both images. An error e = |T(q) - d|, measured in the database image, is held against what a
deviation of the threshold's size in either image makes of it: e² < t² (1 + s²) / 2, where s² is the mean squared
scale of the transform. So it does not matter which of two images is the query, and transforms that shrink
everything to a few cells, where any correspondence fits, gain nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tfvlad_kernels.inputs import Floats
from tfvlad_kernels.jit import inlined, kernel
from tfvlad_kernels.normalization import Doubles

Flags = npt.NDArray[np.bool_]

MOST_SCALE = 8.0  # of a length, either way
MOST_STRETCH = 4.0  # the larger scale in the smaller: a plane that is seen at 75 degrees
_VOTE = np.float32(2**16)  # of a correspondence without an error
_SEED = 0x9E3779B9
_MISSED = 1e-3  # the chance to have missed a transform as good as the best one, at which the search ends
_LEAST_AREA = 4.0  # in squared thresholds and the mean of both images: of what a hypothesis goes through
_REACHES = (2.0, 1.5, 1.25, 1.0, 1.0)  # in thresholds: which correspondences the fits look at, one after the other
_MOST_ON_LINE = 3 / 4  # of the inliers may lie near a line
_LINES = 16  # that are tried


class Agreement(NamedTuple):
    """What correspondences agree on.

    Attributes:
      inliers: how many agree; 0 where no transform is acceptable.
      transform: (2, 3) float32, from the query's positions to the database image's; zeros where there is none.
      mask: (M,) bool, which correspondences agree.
    """

    inliers: int
    transform: Floats
    mask: Flags


def find_transform(
    query_positions: npt.ArrayLike,
    positions: npt.ArrayLike,
    threshold: float,
    similarities: npt.ArrayLike | None = None,
    *,
    iterations: int = 1000,
    affine: bool = True,
) -> Agreement:
    """Finds the transform from one image to another under which most correspondences agree.

    Only transforms are acceptable that keep the orientation, scale no length by more than 8 or less than 1/8, and no
    direction more than 4 times as much as another; and whose inliers are at least 4 (3 without shear) and not near a
    line: at least 2 and a quarter of them must lie farther than half the threshold from any, in both images.

    Args:
      query_positions: (M, 2) x and y in the query.
      positions: (M, 2) x and y in the database image. In both images the unit should be what positions are exact to,
        such as a cell of the activation map.
      threshold: how far off a correspondence may be, in that unit: see the module.
      similarities: (M,), the larger the likelier is a correspondence right: which are tried first.
      iterations: how many hypotheses are tried at most.
      affine: whether the transform may stretch and shear; otherwise it scales, turns and moves.

    Returns:
      The transform and its inliers.

    Raises:
      ValueError: another shape, a value that is not finite, or a threshold or number of iterations that is not above 0.

    Example:
      >>> corners = np.array([[0, 0], [9, 0], [9, 9], [0, 9], [4, 2]], np.float32)
      >>> find_transform(corners, 2 * corners + [3, 1], threshold=1).transform
      array([[2., 0., 3.],
             [0., 2., 1.]], dtype=float32)
    """
    limit, most = as_threshold(threshold), as_iterations(iterations)
    query, database = as_positions("query_positions", query_positions), as_positions("positions", positions)
    if len(query) != len(database):
        raise ValueError(f"query_positions and positions must be as many, got {len(query)} and {len(database)}")
    order = np.arange(len(query))
    if similarities is not None:
        weights = np.asarray(similarities, np.float64)
        if weights.shape != (len(query),) or not np.isfinite(weights).all():
            raise ValueError(f"similarities must be {len(query)} finite numbers, got shape {weights.shape}")
        order = np.argsort(-weights, kind="stable")
    points = np.ascontiguousarray(np.concatenate([query[order], database[order]], axis=1).T)  # (4, M)
    transform = np.empty((2, 3), np.float32)
    agree, mask = np.empty(len(query), np.bool_), np.empty(len(query), np.bool_)
    inliers = search_transform(points, limit, most, bool(affine), transform, agree)
    mask[order] = agree
    return Agreement(int(inliers), transform, mask)


def as_positions(name: str, positions: npt.ArrayLike, length: int | None = None) -> Floats:
    """Returns (N, 2) float32 in C order, all finite; N is the length where one is given."""
    with np.errstate(over="ignore"):  # what overflows becomes Inf
        array = np.ascontiguousarray(positions, np.float32)
    if array.ndim != 2 or array.shape[1] != 2 or (length is not None and len(array) != length):
        raise ValueError(f"{name} must have shape ({'N' if length is None else length}, 2), got shape {array.shape}")
    if not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array).all(axis=1)))
        raise ValueError(f"{name} must be finite, got NaN or Inf in row {row}")
    return array


def as_threshold(threshold: float) -> np.float32:
    """Returns the threshold, above 0 and finite."""
    if not 0 < threshold < 2**60:
        raise ValueError(f"threshold must be above 0 and finite, got {threshold!r}")
    return np.float32(threshold)


def as_iterations(iterations: int) -> int:
    """Returns the number of iterations, above 0."""
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations!r}")
    return int(iterations)


@kernel
def search_transform(
    points: Floats, threshold: np.float32, iterations: int, affine: bool, transform: Floats, mask: Flags
) -> int:
    """Finds the transform under which most correspondences agree.

    Args:
      points: (4, M) float32, x and y in the query, x and y in the database image; the likeliest come first.
      threshold: how far off a correspondence may be.
      iterations: how many hypotheses are tried at most.
      affine: whether the transform may stretch and shear.
      transform: (2, 3) float32, written; zeros where none is acceptable.
      mask: (M,) bool, written: which correspondences agree.

    Returns:
      How many agree.
    """
    correspondences = points.shape[1]
    hypothesis, fitted = np.empty((2, 3), np.float32), np.empty((2, 3), np.float32)
    trial = np.empty(correspondences, np.bool_)
    transform.fill(0)
    mask.fill(False)
    inliers, most_votes, most_drawn = 0, 0, 0
    least = 4 if affine else 3
    state, iteration, stop = _SEED, 0, iterations if correspondences >= least else 0
    while iteration < stop:
        # The first half of the iterations draws from more and more of them, the second from all.
        pool = min(correspondences, 4 + 2 * iteration * correspondences // iterations)
        state, i = _draw(state, pool)
        state, j = _draw(state, pool)
        if affine and iteration % 2 == 0:
            state, k = _draw(state, pool)
            drawn = _go_through_three(points, i, j, k, threshold, hypothesis)
        else:
            drawn = _go_through_two(points, i, j, threshold, hypothesis)
        iteration += 1
        if not drawn:
            continue
        votes = _count_votes(points, hypothesis, threshold)
        if votes <= most_drawn or _mark_inliers(points, hypothesis, threshold, least, trial) == 0:
            continue
        most_drawn = votes
        votes = _refine(points, threshold, affine, votes, hypothesis, fitted)
        if votes <= most_votes:
            continue
        count = _mark_inliers(points, hypothesis, threshold, least, trial)
        if count > 0:
            inliers, most_votes = count, votes
            _copy(hypothesis, transform)
            for i in range(correspondences):
                mask[i] = trial[i]
            stop = min(iterations, _enough_iterations(count / correspondences))
    return inliers


@inlined
def _draw(state: int, count: int) -> tuple[int, int]:
    """Returns the generator's next state (Marsaglia 2003, xorshift) and a number from 0 to count - 1."""
    state ^= (state << 13) & 0xFFFFFFFF
    state ^= state >> 17
    state ^= (state << 5) & 0xFFFFFFFF
    return state, (state * count) >> 32


@kernel
def _copy(transform: Floats, target: Floats) -> None:
    for row in range(2):
        for column in range(3):
            target[row, column] = transform[row, column]


@kernel
def _enough_iterations(share: float) -> int:
    """How many hypotheses go, but for one time in 1 / _MISSED, at least once through inliers alone."""
    hit = min(share, 0.99) ** 3
    return int(np.log(_MISSED) / np.log1p(-hit)) + 1 if hit > 1e-6 else 2**31


@kernel
def _go_through_three(points: Floats, i: int, j: int, k: int, threshold: np.float32, transform: Floats) -> bool:
    """Writes the affine transform through three correspondences; returns whether it is acceptable."""
    x, y, u, v = np.float64(points[0, i]), np.float64(points[1, i]), np.float64(points[2, i]), np.float64(points[3, i])
    x1, y1, u1, v1 = points[0, j] - x, points[1, j] - y, points[2, j] - u, points[3, j] - v
    x2, y2, u2, v2 = points[0, k] - x, points[1, k] - y, points[2, k] - u, points[3, k] - v
    area, mapped = x1 * y2 - x2 * y1, u1 * v2 - u2 * v1
    if not area * mapped >= _LEAST_AREA**2 * np.float64(threshold) ** 4:  # negative where one is turned over
        return False
    a, b = (u1 * y2 - u2 * y1) / area, (u2 * x1 - u1 * x2) / area
    c, d = (v1 * y2 - v2 * y1) / area, (v2 * x1 - v1 * x2) / area
    return _accept(a, b, c, d, u - a * x - b * y, v - c * x - d * y, transform)


@kernel
def _go_through_two(points: Floats, i: int, j: int, threshold: np.float32, transform: Floats) -> bool:
    """Writes the similarity through two correspondences; returns whether it is acceptable."""
    x, y, u, v = np.float64(points[0, i]), np.float64(points[1, i]), np.float64(points[2, i]), np.float64(points[3, i])
    x1, y1, u1, v1 = points[0, j] - x, points[1, j] - y, points[2, j] - u, points[3, j] - v
    length, mapped = x1 * x1 + y1 * y1, u1 * u1 + v1 * v1
    if not length * mapped >= _LEAST_AREA**2 * np.float64(threshold) ** 4:
        return False
    a, c = (u1 * x1 + v1 * y1) / length, (v1 * x1 - u1 * y1) / length
    return _accept(a, -c, c, a, u - a * x + c * y, v - c * x - a * y, transform)


@kernel
def _accept(a: float, b: float, c: float, d: float, u: float, v: float, transform: Floats) -> bool:
    """Writes a transform whose linear part is ((a, b), (c, d)); returns whether that is acceptable."""
    determinant, squares = a * d - b * c, a * a + b * b + c * c + d * d
    if not determinant > 0:  # NaN is not, either
        return False
    # The squared singular values: their sum is the sum of all squares, their product the squared determinant.
    larger = (squares + np.sqrt(max(squares * squares - 4 * determinant * determinant, 0.0))) / 2
    smaller = determinant * determinant / larger
    transform[0, 0], transform[0, 1], transform[0, 2] = a, b, u
    transform[1, 0], transform[1, 1], transform[1, 2] = c, d, v
    return bool(larger <= MOST_SCALE**2 and smaller >= MOST_SCALE**-2 and larger <= MOST_STRETCH**2 * smaller)


@kernel
def _count_votes(points: Floats, transform: Floats, threshold: np.float32) -> int:
    """Sums what correspondences vote for a transform."""
    a, b, u = transform[0]
    c, d, v = transform[1]
    factor = np.float32(1) / _squared_limit(transform, threshold)
    votes = 0
    for i in range(points.shape[1]):
        x = a * points[0, i] + b * points[1, i] + (u - points[2, i])
        y = c * points[0, i] + d * points[1, i] + (v - points[3, i])
        vote = np.float32(1) - (x * x + y * y) * factor
        votes += int(np.int32((vote if vote > 0 else np.float32(0)) * _VOTE))
    return votes


@inlined
def _squared_limit(transform: Floats, threshold: np.float32) -> np.float32:
    """The square of what the error of a correspondence must be below; float32."""
    a, b, c, d = transform[0, 0], transform[0, 1], transform[1, 0], transform[1, 1]
    return np.float32(threshold * threshold * (np.float32(0.5) + (a * a + b * b + c * c + d * d) * np.float32(0.25)))


@kernel
def _refine(points: Floats, threshold: np.float32, affine: bool, votes: int, transform: Floats, fitted: Floats) -> int:
    """Fits a transform to the correspondences near it, again and again.

    Args:
      points: (4, M).
      threshold: how far off a correspondence may be.
      affine: whether the transform may stretch and shear.
      votes: for the transform as it is.
      transform: (2, 3); the best of the fits is written.
      fitted: (2, 3), written.

    Returns:
      The votes for the best one.
    """
    _copy(transform, fitted)
    for reach in _REACHES:
        if not _fit(points, np.float32(reach) * threshold, affine, fitted):
            break
        found = _count_votes(points, fitted, threshold)
        if found > votes:
            votes = found
            _copy(fitted, transform)
    return votes


@kernel
def _fit(points: Floats, reach: np.float32, affine: bool, transform: Floats) -> bool:
    """Replaces a transform by the least-squares fit to what it leads near to, which weighs the more the nearer it is.

    The weights are Tukey's biweight. Returns whether the fit is acceptable; where not, the transform is of no use.
    """
    a, b, u = transform[0]
    c, d, v = transform[1]
    factor = np.float32(1) / _squared_limit(transform, reach)
    moments = np.zeros(12)
    for i in range(points.shape[1]):
        qx, qy, dx, dy = points[0, i], points[1, i], points[2, i], points[3, i]
        x, y = a * qx + b * qy + (u - dx), c * qx + d * qy + (v - dy)
        near = np.float32(1) - (x * x + y * y) * factor
        if near > 0:
            _add_moments(moments, np.float64(near) ** 2, np.float64(qx), np.float64(qy), np.float64(dx), np.float64(dy))
    return _solve(moments, affine, transform)


@inlined
def _add_moments(moments: Doubles, weight: float, x: float, y: float, u: float, v: float) -> None:
    moments[0] += weight
    moments[1] += weight * x
    moments[2] += weight * y
    moments[3] += weight * u
    moments[4] += weight * v
    moments[5] += weight * x * x
    moments[6] += weight * x * y
    moments[7] += weight * y * y
    moments[8] += weight * x * u
    moments[9] += weight * y * u
    moments[10] += weight * x * v
    moments[11] += weight * y * v


@kernel
def _solve(moments: Doubles, affine: bool, transform: Floats) -> bool:
    """Writes the transform that fits weighted correspondences best, from their moments; returns as `_accept` does."""
    w, x, y, u, v, xx, xy, yy, xu, yu, xv, yv = moments
    if not w > 0:
        return False
    x, y, u, v = x / w, y / w, u / w, v / w
    xx, xy, yy = xx - w * x * x, xy - w * x * y, yy - w * y * y  # about the means
    xu, yu, xv, yv = xu - w * x * u, yu - w * y * u, xv - w * x * v, yv - w * y * v
    if affine:
        area = xx * yy - xy * xy
        if not area > 1e-9 * (xx + yy) ** 2:
            return False
        a, b = (xu * yy - yu * xy) / area, (yu * xx - xu * xy) / area
        c, d = (xv * yy - yv * xy) / area, (yv * xx - xv * xy) / area
    else:
        if not xx + yy > 0:
            return False
        a, c = (xu + yv) / (xx + yy), (xv - yu) / (xx + yy)
        b, d = -c, a
    return _accept(a, b, c, d, u - a * x - b * y, v - c * x - d * y, transform)


@kernel
def _mark_inliers(points: Floats, transform: Floats, threshold: np.float32, least: int, mask: Flags) -> int:
    """Marks the inliers of a transform; returns how many they are, or 0 where they are too few or near a line."""
    a, b, u = transform[0]
    c, d, v = transform[1]
    factor = np.float32(1) / _squared_limit(transform, threshold)
    count = 0
    for i in range(points.shape[1]):
        x = a * points[0, i] + b * points[1, i] + (u - points[2, i])
        y = c * points[0, i] + d * points[1, i] + (v - points[3, i])
        mask[i] = np.float32(1) - (x * x + y * y) * factor > 0
        count += mask[i]
    if count < least:
        return 0
    wide = _is_wide(points[0], points[1], mask, count, threshold) and _is_wide(
        points[2], points[3], mask, count, threshold
    )
    return count if wide else 0


@kernel
def _is_wide(xs: Floats, ys: Floats, mask: Flags, count: int, threshold: np.float32) -> bool:
    """Whether so many of the points that a mask marks lie farther than half the threshold from any line.

    Lines go through pairs of them. Of points that are mostly on one line, half of all pairs are, and some are tried.
    """
    members, found = np.empty(count, np.intp), 0
    for i in range(mask.shape[0]):
        if mask[i]:
            members[found] = i
            found += 1
    most = min(count - 2.0, count * _MOST_ON_LINE)
    apart = False
    for m in range(min(count, _LINES)):
        i, j = members[m], members[(m + count // 2) % count]
        x, y = np.float64(xs[i]), np.float64(ys[i])
        along_x, along_y = xs[j] - x, ys[j] - y
        limit = (np.float64(threshold) / 2) ** 2 * (along_x * along_x + along_y * along_y)
        if limit == 0:
            continue
        near = 0
        for member in members:
            near += (along_x * (ys[member] - y) - along_y * (xs[member] - x)) ** 2 <= limit
        if near > most:
            return False
        apart = True
    return apart
