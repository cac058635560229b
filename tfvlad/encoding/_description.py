"""What an encoder gives for an image beside its descriptor."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt


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
