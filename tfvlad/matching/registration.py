"""Whether two pictures are one picture: their pixels are laid on each other, and agree nearly everywhere, or do not.

Local features tell that two photographs show the same thing. Two photographs of one church agree in many of them, and
are two pictures: seen from another place, near things lie elsewhere before far ones, people have moved, the light has
changed. Copies of one picture, however small, compressed, cropped or turned, differ by one similarity and by noise.

So the transform that local features gave is refined on the pixels (Lucas and Kanade, IJCAI 1981; from coarse to fine,
with brightness and contrast left free, and with a robust weight as in Baker and Matthews, IJCV 2004, part 2). Then the
part that both pictures show is divided into small blocks. In a copy nearly every block that is not of one tone
correlates with its counterpart; a watermark spoils a few blocks. In another photograph many do not.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tfvlad.matching.explanation import Pose, outline, pose

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

SIDE = 160  # pixels of the longest side of the pictures that are laid on each other

_LEVELS = ((4, 12), (2, 10), (1, 10))  # by how much both are made smaller, and steps that are taken at most
_LEAST_SIDE = 12  # pixels of a picture at any level
_STILL = 0.02  # pixels; a step that moves no corner farther is the last one
_OUTLIER = 1.5  # standard deviations of the residuals, from where on they count less
_LEAST_CORRELATION = 0.5  # of what both show, at every level
_LEAST_SHARED = 100  # pixels that must lie on each other
_BLOCK = 8  # pixels of a block's side
_MARGIN = 3  # pixels at each picture's edges that are not looked at
# A block of which the standard deviation is less in both pictures is of one tone and not looked at: at least and at
# most so many grey levels, and between them so much of the standard deviation of what both pictures show.
_FLAT = (1.0, 4.0, 0.1)
_WHITE = 250.0  # grey level from which on a block that is of one tone in one of the pictures is taken to be blown out
_BLOCK_AGREES = 0.97  # correlation
_LEAST_BLOCKS = 12  # that are not of one tone; with fewer nothing can be said

# What makes two pictures one. Chosen on one half of the photographs of `benchmarks/duplicates.py`, judged on the other.
LEAST_AGREEMENT = 0.85
MOST_STRETCH = 1.02
LEAST_SHOWN = 0.3  # share of the picture that shows more; what shows less of it was taken with a longer lens as likely
_BEYOND = 0.02  # share of the picture that shows less, which may lie outside of the other one


@dataclasses.dataclass(frozen=True, eq=False)
class Registration:
    """How two pictures lie on each other.

    Attributes:
      transform: (3, 3) float64, takes (x, y, 1) in the first picture to the second, in fractions of their widths and
        heights; affine.
      pose: how the first lies in the second; its scale is in pixels of the pictures' own sizes.
      shared: shares (0 to 1) of the first and of the second picture that lie on the other.
      attainable: the overlap (0 to 1) of a picture and itself turned as these are; 1 where they stand upright.
      agreement: share (0 to 1) of the blocks in the overlap that agree, among those that are not of one tone.
      blocks: how many these are.
    """

    transform: Doubles
    pose: Pose
    shared: tuple[float, float]
    attainable: float
    agreement: float
    blocks: int

    def inverse(self) -> Registration:
        """The same with the two pictures exchanged."""
        turned = Pose(-self.pose.turn, 1 / self.pose.scale, self.pose.stretch)
        return dataclasses.replace(
            self, transform=np.linalg.inv(self.transform).astype(np.float64), pose=turned, shared=self.shared[::-1]
        )

    @property
    def overlap(self) -> float:
        """The share (0 to 1) of the picture that shows less, which lies on the other."""
        return max(self.shared)

    @property
    def is_same_picture(self) -> bool:
        """Whether one similarity lays the smaller picture into the other, and their pixels agree there.

        A part that was cut out lies inside of the whole. Two photographs taken one after the other mostly do not: each
        shows something that the other one does not.
        """
        return (
            self.blocks >= _LEAST_BLOCKS
            and self.agreement >= LEAST_AGREEMENT
            and self.overlap >= self.attainable - _BEYOND
            and min(self.shared) >= LEAST_SHOWN
            and self.pose.stretch <= MOST_STRETCH
        )


def register(first: Image.Image, second: Image.Image, transform: Doubles) -> Registration | None:
    """Lays two pictures on each other.

    Args:
      first: grey (mode ``L``), its longest side about `SIDE` pixels or fewer.
      second: likewise.
      transform: (3, 3) affine, about how the first lies in the second, in fractions of their widths and heights.

    Returns:
      How they lie on each other; None where they do not, or are too small to tell.
    """
    one_way = _register(first, second, np.asarray(transform, np.float64))
    if one_way is None or one_way.is_same_picture:
        return one_way
    # The search can end beside the best place, such as on the black corners of a turned picture; the other way round it
    # takes another path.
    back = _register(second, first, np.linalg.inv(transform).astype(np.float64))
    return back.inverse() if back is not None and back.is_same_picture else one_way


def _register(first: Image.Image, second: Image.Image, transform: Doubles) -> Registration | None:
    for factor, steps in _LEVELS:
        pair = _alike_in_scale(first, second, transform, factor)
        if pair is None:
            continue
        refined = _refine(*pair, transform, steps)
        if refined is None:
            return None
        transform = refined
    pair = _alike_in_scale(first, second, transform, 1)
    return None if pair is None else _judge(*pair, transform, first.size, second.size)


def _alike_in_scale(
    first: Image.Image, second: Image.Image, transform: Doubles, factor: int
) -> tuple[Floats, Floats] | None:
    """Both pictures as (h, w) float32, so small that what both show is as large in one as in the other."""
    matrix = _between_pixels(transform, first.size, second.size)
    scale = math.sqrt(abs(float(np.linalg.det(matrix[:2, :2]))))
    if not 1 / 64 < scale < 64:
        return None
    made = []
    for picture, by in ((first, factor * max(1.0, 1 / scale)), (second, factor * max(1.0, scale))):
        width, height = (max(1, round(side / by)) for side in picture.size)
        if min(width, height) < _LEAST_SIDE:
            return None
        small = picture.resize((width, height), Image.Resampling.BICUBIC)  # which smooths, as Pillow does it
        made.append(_blurred(np.asarray(small, np.float32)))
    return made[0], made[1]


def _refine(first: Floats, second: Floats, transform: Doubles, steps: int) -> Doubles | None:
    """Moves the transform so that the pixels of the second picture are those of the first."""
    sizes = first.shape[::-1], second.shape[::-1]
    matrix = _between_pixels(transform, *sizes)
    right, down = np.gradient(second, axis=1), np.gradient(second, axis=0)
    rows, columns = np.indices(first.shape)
    places = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5, np.ones(first.size)])  # (3, n)
    corners = np.array([[0, sizes[0][0], 0, sizes[0][0]], [0, 0, sizes[0][1], sizes[0][1]], [1, 1, 1, 1]], np.float64)
    for _ in range(steps):
        inside, sampled = _sample([second, right, down], matrix[:2] @ places)
        if np.count_nonzero(inside) < _LEAST_SHARED:
            return None
        x, y, _ = places[:, inside]
        target, (values, along, across) = first.ravel()[inside], sampled
        spread = float(values.std())
        if spread < 1e-3 or target.std() < 1e-3:
            return None
        # target ~ gain * values + offset; the gain and the offset are unknowns as the transform is.
        gain, offset = _line(values, target)
        residual = target - gain * values - offset
        weights = 1 / (1 + (residual / (_OUTLIER * max(float(residual.std()), 1e-3))) ** 2)
        along, across = gain * along, gain * across
        system = np.stack([along * x, along * y, along, across * x, across * y, across, values, np.ones_like(values)])
        weighted = system * weights
        normal = weighted @ system.T
        try:
            step = np.linalg.solve(normal + np.diag(np.diag(normal)) * 1e-6, weighted @ residual)[:6].reshape(2, 3)
        except np.linalg.LinAlgError:
            return None
        matrix[:2] += step
        if np.abs(step @ corners).max() < _STILL:
            break
    if not np.isfinite(matrix).all() or not _correlate(first, second, matrix, places):
        return None
    return np.linalg.inv(_scaling(sizes[1])) @ matrix @ _scaling(sizes[0])


def _correlate(first: Floats, second: Floats, matrix: Doubles, places: Doubles) -> bool:
    """Whether what both pictures show is alike at all; most pictures that are none of one are told apart here."""
    inside, (values,) = _sample([second], matrix[:2] @ places)
    if np.count_nonzero(inside) < _LEAST_SHARED:
        return False
    target = first.ravel()[inside]
    target, values = target - target.mean(), values - values.mean()
    return bool(target @ values >= _LEAST_CORRELATION * np.linalg.norm(target) * np.linalg.norm(values))


def _judge(
    first: Floats, second: Floats, transform: Doubles, first_size: tuple[int, int], second_size: tuple[int, int]
) -> Registration | None:
    matrix = _between_pixels(transform, first.shape[::-1], second.shape[::-1])
    if abs(float(np.linalg.det(matrix[:2, :2]))) < 1e-6:
        return None
    rows, columns = np.indices(first.shape)
    places = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5, np.ones(first.size)])
    reached = matrix[:2] @ places
    limits = np.array([second.shape[::-1]]).T  # (2, 1)
    inside, (values,) = _sample([second], reached)
    moved = np.zeros(first.size, np.float32)
    moved[inside] = values
    # What is smoothed near an edge has something of what lies beyond it, such as a border, in one of the pictures.
    middle = np.all((reached >= _MARGIN) & (reached <= limits - _MARGIN), axis=0)
    height, width = ((side - 2 * _MARGIN) // _BLOCK * _BLOCK for side in first.shape)
    top, left = (first.shape[0] - height) // 2, (first.shape[1] - width) // 2

    def blocks(values: npt.NDArray[Any]) -> Doubles:
        cut = values.reshape(first.shape)[top : top + height, left : left + width].astype(np.float64)
        tiled = cut.reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
        return tiled.transpose(0, 2, 1, 3).reshape(-1, _BLOCK * _BLOCK)  # (blocks, pixels)

    whole = blocks(middle).all(axis=1)
    one, other = blocks(first.ravel())[whole], blocks(moved)[whole]
    gain, _ = _line(moved[inside], first.ravel()[inside]) if np.count_nonzero(inside) else (1.0, 0.0)
    brightest = np.maximum(one.max(axis=1), other.max(axis=1))
    one, other = one - one.mean(axis=1, keepdims=True), (other - other.mean(axis=1, keepdims=True)) * gain
    deviations = one.std(axis=1), other.std(axis=1)
    spread = float(first.ravel()[inside].std()) if inside.any() else 0.0
    flat = min(max(_FLAT[0], _FLAT[2] * spread), _FLAT[1])
    looked_at = (np.maximum(*deviations) >= flat) & ((np.minimum(*deviations) >= flat) | (brightest < _WHITE))
    correlations = (one * other).mean(axis=1) / np.maximum(deviations[0] * deviations[1], 1e-6)
    count = int(np.count_nonzero(looked_at))
    agree = int(np.count_nonzero(looked_at & (correlations >= _BLOCK_AGREES)))
    of_second = _area_inside(outline(transform))
    shared = of_second / abs(float(np.linalg.det(transform[:2, :2]))), of_second
    how = pose(transform, first_size, second_size)
    # A picture turned about its middle loses its corners; to a quarter turn, for small angles.
    angle = math.radians(abs((how.turn + 45) % 90 - 45))
    ratio = first_size[0] / first_size[1]
    attainable = max(1 - (ratio + 1 / ratio) / 4 * math.tan(angle), 0.75)
    agreement = agree / count if count else 0.0
    return Registration(transform, how, shared, attainable, agreement, count)


def _area_inside(corners: Doubles) -> float:
    """The area of what a convex polygon, (P, 2), shares with the square from 0 to 1 (Sutherland and Hodgman 1974)."""
    points = [(float(x), float(y)) for x, y in corners]
    for axis, side, sign in ((0, 0.0, 1), (0, 1.0, -1), (1, 0.0, 1), (1, 1.0, -1)):
        kept = []
        for start, end in zip(points, points[1:] + points[:1], strict=True):
            depths = sign * (start[axis] - side), sign * (end[axis] - side)
            if depths[0] >= 0:
                kept.append(start)
            if (depths[0] >= 0) != (depths[1] >= 0):
                part = depths[0] / (depths[0] - depths[1])
                kept.append((start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1])))
        points = kept
    twice = sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(points, points[1:] + points[:1], strict=True))
    return abs(twice) / 2


def _sample(pictures: list[Floats], places: Doubles) -> tuple[npt.NDArray[np.bool_], list[Floats]]:
    """Which (2, n) places lie in a picture, and bilinear values there; pixel centres are at halves."""
    height, width = pictures[0].shape
    x, y = places[0] - 0.5, places[1] - 0.5
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    x, y = x[inside], y[inside]
    column = np.minimum(x.astype(np.intp), max(width - 2, 0))
    row = np.minimum(y.astype(np.intp), max(height - 2, 0))
    right, down = (x - column).astype(np.float32), (y - row).astype(np.float32)
    start = row * width + column
    values = []
    for picture in pictures:
        flat = picture.ravel()
        upper = flat[start] * (1 - right) + flat[start + 1] * right
        lower = flat[start + width] * (1 - right) + flat[start + width + 1] * right
        values.append(upper * (1 - down) + lower * down)
    return inside, values


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """The gain and the offset of the line that fits best."""
    mean_x, mean_y = float(x.mean()), float(y.mean())
    variance = float(((x - mean_x) ** 2).mean())
    gain = float(((x - mean_x) * (y - mean_y)).mean()) / variance if variance else 0.0
    return gain, mean_y - gain * mean_x


def _blurred(picture: Floats) -> Floats:
    """Smoothed by 1 4 6 4 1 (a standard deviation of one pixel), which takes the noise of compression away."""
    for axis in (0, 1):
        padded = np.pad(picture, [(2, 2) if axis == other else (0, 0) for other in (0, 1)], mode="edge")
        length = picture.shape[axis]
        parts = [np.take(padded, range(start, start + length), axis) for start in range(5)]
        picture = (parts[0] + parts[4] + 4 * (parts[1] + parts[3]) + 6 * parts[2]) / np.float32(16)
    return picture


def _between_pixels(transform: Doubles, first: tuple[int, ...], second: tuple[int, ...]) -> Doubles:
    between: Doubles = _scaling(second) @ transform @ np.linalg.inv(_scaling(first))
    return between


def _scaling(size: tuple[int, ...]) -> Doubles:
    return np.diag([float(size[0]), float(size[1]), 1.0])
