"""Views of a picture as inputs of a network: each at a size of its own, rendered on the threads that decode images."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import numpy.typing as npt

from tfvlad.images.crops import read_upright
from tfvlad.images.loading import ImageLoader, Tensor
from tfvlad.images.sources import Source, source_name
from tfvlad.images.views import View

Pixels = npt.NDArray[np.uint8]


class Picture:
    """A picture that is decoded once, when the first of its renditions is loaded.

    Args:
      source: a path, an image file's bytes, or pixels.
      max_pixels: see `tfvlad.EncoderConfig`.
      longest_side: pixels; a larger picture is made smaller, to no less than this.
    """

    def __init__(self, source: Source, max_pixels: int, longest_side: int) -> None:
        self.name = source_name(source)
        self._source = source
        self._limits = max_pixels, longest_side
        self._pixels: Pixels | None = None
        self._lock = threading.Lock()

    def pixels(self) -> Pixels:
        """The upright picture: (H, W, 3) uint8 RGB.

        Raises:
          ImageError: it cannot be read.
        """
        with self._lock:
            if self._pixels is None:
                self._pixels = read_upright(self._source, *self._limits)
            return self._pixels


@dataclasses.dataclass(frozen=True, eq=False)
class Rendition:
    """One view of a picture, to be prepared for a network.

    Attributes:
      picture: the picture.
      view: what is rendered of it.
      side: pixels that the rendered view gets, instead of an `ImageLoader`'s own `image_size`.
    """

    picture: Picture
    view: View
    side: int

    def load(self, loader: ImageLoader) -> Tensor:
        """Renders and prepares the view: (h, w, 3) float32.

        Raises:
          ImageError: the picture cannot be read.
        """
        return loader.load_pixels(self.view.render(self.picture.pixels()), self.side)


def input_name(source: Source | Rendition) -> str:
    """Names an input in messages; a rendition by its picture."""
    return source.picture.name if isinstance(source, Rendition) else source_name(source)
