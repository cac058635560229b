"""From a view's activation map to compact local features: where its cells are, and which of them are kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tfvlad.encoding.views import cell_centres
from tfvlad.matching.compression import Projection
from tfvlad.matching.local_features import LocalFeatures
from tfvlad_kernels.uniqueness import most_similar_elsewhere

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Positions = npt.NDArray[np.intp]

_NEIGHBOURHOOD = 2  # cells, in each direction

WHOLE: Doubles = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # the view that is the whole image


def describe_cells(
    features: Floats,
    projection: Projection,
    size: tuple[int, int],
    to_image: Doubles = WHOLE,
    limit: int | None = None,
    margin: int = 2,
) -> LocalFeatures:
    """Makes a view's compact local features.

    Cells near the edges of the view and of the image are left out, and so are those whose features are zero. What the
    network sees beyond an edge (zeros, or the filled corners of a turned view) is alike in all images: among
    photographs of the same shape, cells at edges would agree whatever is shown.

    Args:
      features: (h, w, C) float32, the view's local features; see `tfvlad.Encoder.local_features`.
      projection: fitted on such features.
      size: (width, height) of the whole upright image in pixels.
      to_image: (2, 3), from fractions of the view's width and height to fractions of the image's.
      limit: cells that are kept at most; see `select_cells`.
      margin: cells that are left out at each edge; fewer where the view has less than eight times as many in a
        direction.

    Returns:
      The features, in the order of the map's rows.
    """
    height, width, channels = features.shape
    flat = features.reshape(height * width, channels)
    positions = cell_positions(height, width, to_image)
    steps = np.abs(to_image[:, :2]) / (width, height)  # of a cell to the right, and one down, in fractions of the image
    cell_x, cell_y = np.minimum(np.hypot(steps[:, 0], steps[:, 1]), 1.0)
    margin_x, margin_y = min(margin, width // 8), min(margin, height // 8)
    rows, columns = np.divmod(np.arange(height * width), width)
    in_view = _between(columns, margin_x, width - 1) & _between(rows, margin_y, height - 1)
    in_image = _between(positions[:, 0], margin_x * cell_x, 1.0) & _between(positions[:, 1], margin_y * cell_y, 1.0)
    usable = np.flatnonzero(in_view & in_image & flat.any(axis=1))
    descriptors = projection.apply(flat[usable])
    if limit is not None and limit < len(usable):
        chosen = select_cells(uniqueness(descriptors, np.stack([rows[usable], columns[usable]], axis=1)), limit)
        usable, descriptors = usable[chosen], descriptors[chosen]
    return LocalFeatures(positions[usable], descriptors, (float(cell_x), float(cell_y)), size)


def _between(values: npt.NDArray[Any], margin: float, last: float) -> npt.NDArray[np.bool_]:
    """Whether values are at least `margin` from both 0 and `last`."""
    inside: npt.NDArray[np.bool_] = (values >= margin) & (values <= last - margin)
    return inside


def cell_positions(height: int, width: int, to_image: Doubles = WHOLE) -> Floats:
    """The centres of a map's cells, taken to cover the view evenly.

    Args:
      height: cells from top to bottom.
      width: cells from left to right.
      to_image: see `describe_cells`.

    Returns:
      (height * width, 2) float32, x and y as fractions of the whole image, row by row; out of 0 to 1 where the view
      reaches beyond the image.
    """
    return cell_centres(height, width, to_image).astype(np.float32)


def uniqueness(descriptors: npt.NDArray[np.int8], places: npt.NDArray[np.intp]) -> Doubles:
    """How unlike every other cell of its own image a cell is: minus the largest similarity with one that is not close.

    A cell that is there again elsewhere, as of letters, a pattern, a wall, matches in the wrong place. Neighbouring
    cells look at nearly the same pixels and are alike however unique they are. Of the same number of cells, this leaves
    a right match two to three times the inliers that the norms of the activations leave, and a wrong one no more.

    Args:
      descriptors: (N, D) int8.
      places: (N, 2) integers, row and column of each in the view's map.

    Returns:
      (N,) float64, the larger the more unlike.
    """
    longest = int(np.ptp(places, axis=0).max()) + 1 if len(places) else 0
    radius = max(0, min(_NEIGHBOURHOOD, longest // 2 - 1))  # so that in a small map, too, cells have others beyond it
    return -most_similar_elsewhere(descriptors, places, radius).astype(np.float64)


def select_cells(measure: npt.ArrayLike, limit: int) -> Positions:
    """Chooses the most telling cells.

    Args:
      measure: (N,), the larger the more telling, such as `uniqueness`.
      limit: how many to choose at most.

    Returns:
      (min(N, limit),) intp, their positions, ascending; of cells that tie, the first.

    Raises:
      ValueError: the limit is below 1.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    return np.sort(np.argsort(-np.asarray(measure, np.float64), kind="stable")[:limit])
