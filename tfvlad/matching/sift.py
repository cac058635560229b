"""Verification by SIFT with OpenCV, on the files of a shortlist: for planar things, and for judging the cells.

Lowe (IJCV 2004): keypoints and the ratio test; Arandjelović and Zisserman (CVPR 2012): RootSIFT; then a homography by
RANSAC. OpenCV comes with ``pip install 'tfvlad[sift]'``.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tfvlad.config import MAX_PIXELS
from tfvlad.errors import ConfigError, ImageError
from tfvlad.matching.verification import Candidate, Match, Query, Source
from tfvlad_kernels.threads import thread_count

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

# A component of a RootSIFT descriptor, which is of unit length, times this and rounded: sums of products then stay
# below 2**24, where float32 is exact, so that the matches are the same however many threads a product is computed on.
_SCALE = 2048
_RATIO = 0.8  # of the distances to the nearest and to the second nearest descriptor (Lowe 2004, section 7.1)
_CONFIDENCE = 0.999
_ITERATIONS = 2000
_FEWEST = 5  # inliers; four determine a homography, and would always agree
_MOST_SCALE = 10.0  # of a length, either way, where the inliers are
_MOST_STRETCH = 6.0  # the larger scale in the smaller there
_OFF_LINE = 8  # one in so many inliers, and two at least, must be off the line that fits them best
_REMEMBERED = 256  # files whose keypoints are kept; a file's take a third of a MiB


@dataclasses.dataclass(frozen=True, eq=False)
class _Keypoints:
    """Keypoints of a picture.

    Attributes:
      positions: (N, 2) float64, in pixels of the picture as it was looked at.
      descriptors: (N, 128) uint16, RootSIFT times `_SCALE`.
      size: (width, height) of the picture as it was looked at.
    """

    positions: Doubles
    descriptors: npt.NDArray[np.uint16]
    size: tuple[int, int]


class SiftVerifier:
    """Verifies by SIFT keypoints that agree under one homography; see `tfvlad.matching.verification.Verifier`.

    It looks at the query's source and at the candidates' files, not at their local features, and so finds views of its
    own: SIFT knows turned and scaled things again. Candidates are verified in parallel; keypoints of the files looked
    at last are remembered until a file changes. A match's score is the sum of its RootSIFT descriptors' cosines.

    Attributes:
      image_size: pixels of a picture's longest side when keypoints are looked for.
      keypoints: how many are kept of a picture, at most, the strongest.
      threshold: pixels; how far two matching keypoints may be off the homography.
      max_pixels: a picture whose header announces more is not decoded.
    """

    def __init__(
        self, image_size: int = 640, keypoints: int = 1000, threshold: float = 4.0, max_pixels: int = MAX_PIXELS
    ) -> None:
        """See the attributes.

        Raises:
          ConfigError: OpenCV is not installed.
        """
        try:
            import cv2
        except ImportError:
            raise ConfigError("the SIFT verifier needs OpenCV: pip install 'tfvlad[sift]'") from None
        self.image_size, self.keypoints, self.threshold, self.max_pixels = image_size, keypoints, threshold, max_pixels
        self._cv2: Any = cv2
        self._remembered: collections.OrderedDict[tuple[str, int, int], _Keypoints] = collections.OrderedDict()
        self._lock = threading.Lock()

    def verify(self, query: Query, candidates: Sequence[Candidate], cells: bool = False) -> list[Match]:
        """See `Verifier`. A candidate whose file cannot be read has no inliers and a `problem`.

        Raises:
          ImageError: the query cannot be read.
        """
        asked = self._look(query.source)
        if query.mirrored:
            flipped = asked.positions * [-1, 1] + [asked.size[0], 0]
            asked = dataclasses.replace(asked, positions=flipped)

        def compare(candidate: Candidate) -> Match:
            try:
                return self._compare(asked, self._look(candidate.path), cells)
            except ImageError as error:
                return Match(cells=np.zeros((0, 2, 2), np.float32) if cells else None, problem=str(error))

        with concurrent.futures.ThreadPoolExecutor(thread_count(), "tfvlad-sift") as pool:
            return list(pool.map(compare, candidates))

    def _look(self, source: Source) -> _Keypoints:
        """A picture's keypoints, remembered where it is a file that has not changed since."""
        if not isinstance(source, str):
            return self._find(source)
        try:
            status = os.stat(source)
        except (OSError, ValueError) as error:
            raise ImageError(source, getattr(error, "strerror", None) or str(error)) from None
        key = source, status.st_mtime_ns, status.st_size
        with self._lock:
            if key in self._remembered:
                self._remembered.move_to_end(key)
                return self._remembered[key]
        found = self._find(source)
        with self._lock:
            self._remembered[key] = found
            while len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        return found

    def _find(self, source: Source) -> _Keypoints:
        from tfvlad.images.loading import image_loader  # which imports TensorFlow

        pixels = np.asarray(image_loader(self.image_size, "fit", "none", self.max_pixels).load(source))
        grey = np.rint(pixels @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.uint8)  # ITU-R BT.601
        found, descriptors = self._cv2.SIFT_create(self.keypoints).detectAndCompute(grey, None)
        # OpenCV gives some more keypoints where several are equally strong.
        found = found[: self.keypoints]
        positions = np.array([keypoint.pt for keypoint in found], np.float64).reshape(len(found), 2)
        return _Keypoints(positions + 0.5, _root(descriptors, len(found)), (grey.shape[1], grey.shape[0]))

    def _compare(self, query: _Keypoints, found: _Keypoints, cells: bool) -> Match:
        pairs, cosines = _matches(query.descriptors, found.descriptors)
        start, end = query.positions[pairs[:, 0]], found.positions[pairs[:, 1]]
        transform, mask = None, np.zeros(len(pairs), np.bool_)
        if len(pairs) >= _FEWEST:
            homography, marked = self._cv2.findHomography(
                start, end, self._cv2.RANSAC, self.threshold, None, _ITERATIONS, _CONFIDENCE
            )
            if homography is not None:
                agree = marked.ravel().astype(np.bool_)
                if _is_plausible(homography, start[agree], end[agree], self.threshold):
                    transform, mask = _in_fractions(homography, query.size, found.size), agree
        where = None
        if cells:
            where = np.stack([start[mask] / query.size, end[mask] / found.size], axis=1).astype(np.float32)
        return Match(int(mask.sum()), float(cosines[mask].sum()), transform, cells=where)


def _root(descriptors: Floats | None, count: int) -> npt.NDArray[np.uint16]:
    """SIFT -> RootSIFT: (N, 128) float32, or None where there are none -> (count, 128) uint16."""
    if descriptors is None:
        return np.zeros((0, 128), np.uint16)
    sums = np.maximum(descriptors[:count].sum(axis=1, keepdims=True, dtype=np.float64), 1e-12)
    rooted: npt.NDArray[np.uint16] = np.rint(np.sqrt(descriptors[:count] / sums) * _SCALE).astype(np.uint16)
    return rooted


def _matches(query: npt.NDArray[np.uint16], found: npt.NDArray[np.uint16]) -> tuple[npt.NDArray[np.intp], Floats]:
    """Pairs that pass the ratio test, at most one for each keypoint on either side.

    Returns:
      (M, 2) intp, positions in both, and the (M,) float32 cosines of their descriptors.
    """
    if len(query) == 0 or len(found) < 2:
        return np.zeros((0, 2), np.intp), np.zeros(0, np.float32)
    cosines = query.astype(np.float32) @ found.astype(np.float32).T / np.float32(_SCALE**2)  # (N, 128) @ (128, M)
    rows = np.arange(len(query))
    nearest = cosines.argmax(axis=1)
    best = cosines[rows, nearest]
    cosines[rows, nearest] = -1
    second = cosines.max(axis=1)
    # Squared distances of unit vectors are 2 - 2 cosine.
    passed = np.flatnonzero(1 - best < _RATIO**2 * (1 - second))
    # Several keypoints may be nearest to the same one: only the most similar stays, lest they agree on one place.
    order = passed[np.argsort(-best[passed], kind="stable")]
    _, firsts = np.unique(nearest[order], return_index=True)
    kept = np.sort(order[firsts])
    return np.stack([kept, nearest[kept]], axis=1), best[kept]


def _is_plausible(homography: Doubles, start: Doubles, end: Doubles, threshold: float) -> bool:
    """Whether a homography, where its inliers are, shows a plane from its front, and they are enough and not in a line.

    Args:
      homography: (3, 3).
      start: (N, 2) inliers in the query.
      end: (N, 2) inliers in the found picture.
      threshold: pixels.
    """
    distinct = min(len(np.unique(np.rint(points), axis=0)) for points in (start, end))
    if distinct < _FEWEST or not np.isfinite(homography).all():
        return False
    depths = start @ homography[2, :2] + homography[2, 2]
    if not ((depths > 0).all() or (depths < 0).all()):  # the horizon goes through the inliers
        return False
    x, y = start.mean(axis=0)
    w = homography[2] @ (x, y, 1)
    u, v = homography[:2] @ (x, y, 1) / w
    derivative = (homography[:2, :2] - np.outer((u, v), homography[2, :2])) / w
    larger, smaller = np.linalg.svd(derivative, compute_uv=False)
    if (
        np.linalg.det(derivative) <= 0
        or larger > _MOST_SCALE
        or smaller < 1 / _MOST_SCALE
        or larger > _MOST_STRETCH * smaller
    ):
        return False
    return all(_is_wide(points, threshold) for points in (start, end))


def _is_wide(points: Doubles, threshold: float) -> bool:
    """Whether enough of (N, 2) points are farther than the threshold from the line that fits them best."""
    centred = points - points.mean(axis=0)
    across = np.linalg.svd(centred, full_matrices=False)[2][1]
    return int(np.sum(np.abs(centred @ across) > threshold)) >= max(2, -(-len(points) // _OFF_LINE))


def _in_fractions(homography: Doubles, query: tuple[int, int], found: tuple[int, int]) -> Doubles:
    """Makes (3, 3) between fractions of the pictures of (3, 3) between their pixels; the last element is made 1."""
    matrix = np.diag([1 / found[0], 1 / found[1], 1.0]) @ homography @ np.diag([*query, 1.0])
    return matrix / matrix[2, 2] if matrix[2, 2] else matrix
