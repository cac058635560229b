"""Views: the renditions of an image that have a descriptor each.

A view shows the whole picture or a part of it, perhaps turned or scaled. An image's score is the best of its views'.
Today there is one kind of view, the whole picture. Another kind is a class like `WholePicture`: synchronisation encodes
the views that an image lacks, and search finds an image by any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tfvlad.images.loading import Source

Pixels = NDArray[np.uint8]


class View(Protocol):
    """One rendition of a picture.

    Attributes:
      name: what the catalog calls the view. It tells the kind and its parameters, no two views of an index share it,
        and it means the same for ever.
    """

    @property
    def name(self) -> str: ...

    def render(self, pixels: Pixels) -> Pixels:
        """Renders the view: upright RGB pixels (H, W, 3) uint8 to the pixels that are encoded, (h, w, 3) uint8."""
        ...


class WholePicture:
    """The whole picture, upright."""

    name = "whole"

    def render(self, pixels: Pixels) -> Pixels:
        return pixels


WHOLE: View = WholePicture()
VIEWS: tuple[View, ...] = (WHOLE,)


def render_views(content: bytes, views: Sequence[View], max_pixels: Callable[[], int]) -> Iterator[Source]:
    """Gives an encoder's input for each view of an image file.

    The whole picture is given as the file's bytes, which an encoder decodes in parallel and no larger than it needs.
    For other views the picture is decoded here, in full size, before the first input is given.

    Args:
      content: the file's bytes.
      views: the views to render, in this order.
      max_pixels: gives the encoder's limit, see `tfvlad.EncoderConfig`; called only if the picture is decoded here.

    Raises:
      ImageError: the picture cannot be decoded; raised by the call, never by the iterator.
    """
    if all(view is WHOLE for view in views):
        return (content for _ in views)
    from tfvlad.images.crops import read_upright  # imports TensorFlow

    pixels = read_upright(content, max_pixels())
    return (content if view is WHOLE else view.render(pixels) for view in views)
