"""What an encoder gives for a picture and for several views of it, and which cells of an activation map a view has."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tfvlad.images.views import View

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

_ROUNDING = 1e-6  # a cell whose centre is on a box's edge belongs to the box


@dataclasses.dataclass(frozen=True, eq=False)
class Description:
    """What one forward pass gives for an image.

    Attributes:
      descriptor: (dim,) float32, unit length.
      features: (h, w, C) float32, its local features, unit length per cell.
      size: (width, height) of the image in pixels, upright and as large as it came.
    """

    descriptor: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]
    size: tuple[int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class PassFeatures:
    """The local features that one forward pass gives for a picture.

    Attributes:
      view: what was rendered: the whole picture, turned; for an encoder whose map has no parts, each view itself.
      features: (h, w, C) float32, unit length per cell.
      to_picture: (2, 3) float64, from fractions of the rendered view's width and height to fractions of the upright
        picture's; see `tfvlad.images.views.View.to_picture`.
    """

    view: View
    features: Floats
    to_picture: Doubles


@dataclasses.dataclass(frozen=True, eq=False)
class ViewsDescription:
    """What an encoder gives for several views of one picture.

    Attributes:
      views: the views.
      descriptors: (V, dim) float32, unit length, one for each view.
      passes: the local features of each forward pass, which several views may share.
      pass_of: for each view, the position of its pass in `passes`.
      size: (width, height) of the picture in pixels, upright and as large as it came.
    """

    views: tuple[View, ...]
    descriptors: Floats
    passes: tuple[PassFeatures, ...]
    pass_of: tuple[int, ...]
    size: tuple[int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class Encoded:
    """What an index keeps of a picture, ready to be stored: from an encoder that runs elsewhere, or ran before.

    Attributes:
      descriptors: (V, dim) float32, unit length, one for each view that was wanted.
      local: the compact local features of the whole picture, see `tfvlad.matching.local_features`; None for none.
    """

    descriptors: Floats
    local: bytes | None


def turned_wholes(views: Sequence[View]) -> tuple[list[View], list[int]]:
    """The whole picture in each turn that views have, and for each view its turn's position among them."""
    wholes = list(dict.fromkeys(View(view.turn) for view in views))
    return wholes, [wholes.index(View(view.turn)) for view in views]


def cell_centres(height: int, width: int, to_picture: Doubles) -> Doubles:
    """The centres of a map's cells, taken to cover the rendered view evenly.

    Args:
      height: cells from top to bottom.
      width: cells from left to right.
      to_picture: see `PassFeatures`.

    Returns:
      (height * width, 2) float64, x and y as fractions of the upright picture, row by row; out of 0 to 1 where the view
      reaches beyond the picture.
    """
    rows, columns = np.divmod(np.arange(height * width), width)
    in_view = np.stack([(columns + 0.5) / width, (rows + 0.5) / height], axis=1)
    centres: Doubles = in_view @ to_picture[:, :2].T + to_picture[:, 2]
    return centres


def cells_of_view(view: View, centres: Doubles) -> npt.NDArray[np.intp]:
    """Which cells of its turn's map a view has: those whose centres lie in its box, and therefore in the picture.

    Example:
      >>> cells_of_view(View(box=(0.5, 0, 1, 1)), cell_centres(1, 4, View().to_picture((4, 1)))).tolist()
      [2, 3]

    Args:
      view: the view.
      centres: (N, 2), see `cell_centres`.

    Returns:
      (n,) ascending; the cell that is nearest to the box's centre where a box is so small that it has none.
    """
    x0, y0, x1, y1 = view.box
    inside = (centres >= (x0 - _ROUNDING, y0 - _ROUNDING)) & (centres <= (x1 + _ROUNDING, y1 + _ROUNDING))
    cells = np.flatnonzero(inside.all(axis=1))
    if len(cells):
        return cells
    return np.array([np.square(centres - ((x0 + x1) / 2, (y0 + y1) / 2)).sum(axis=1).argmin()])
