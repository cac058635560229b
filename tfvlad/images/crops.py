"""Image files as upright pixels, whole or in part, for queries that are a box in an image or an altered copy."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvlad.errors import ImageError
from tfvlad.images.boxes import Box
from tfvlad.images.decoding import decode
from tfvlad.images.loading import read_file, run_decoder, source_name
from tfvlad.images.orientation import read_orientation, turn_upright

_EVERY_PIXEL = 2**24  # of a side: no decoder may reduce a smaller image


def read_crop(path: str, box: Box, max_pixels: int) -> npt.NDArray[np.uint8]:
    """Decodes an image as `tfvlad.images.loading` does, in full size, turns it upright and cuts a box out of it.

    Args:
      path: the image file.
      box: (x1, y1, x2, y2) in pixels, x2 and y2 not included; rounded to whole pixels, as the Python code of the
        revisited Oxford/Paris benchmark does (its MATLAB code includes x2 and y2), and cut off at the image's edges.
      max_pixels: see `tfvlad.EncoderConfig`.

    Returns:
      (H, W, 3) uint8 RGB, at least 1 x 1.

    Raises:
      ImageError: the file cannot be read, or less than half of the box is inside the image, as where the file is not of
        the size that the box was drawn on.
    """
    pixels = read_upright(path, max_pixels)
    height, width, _ = pixels.shape
    x1, y1, x2, y2 = (round(side) for side in box)
    left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
    inside = max(right - left, 0) * max(bottom - top, 0)
    if inside == 0 or 2 * inside < (x2 - x1) * (y2 - y1):
        raise ImageError(path, f"the box {x1},{y1} to {x2},{y2} is not inside its {width} x {height} pixels")
    return pixels[top:bottom, left:right]


def read_upright(source: str | bytes, max_pixels: int) -> npt.NDArray[np.uint8]:
    """Decodes an image as `tfvlad.images.loading` does, in full size, and turns it upright: (H, W, 3) uint8 RGB.

    Args:
      source: the path of an image file, or its bytes.
      max_pixels: see `tfvlad.EncoderConfig`.

    Raises:
      ImageError: the file cannot be read.
    """
    data = source if isinstance(source, bytes) else read_file(source)
    pixels: npt.NDArray[np.uint8] = run_decoder(_decoder(max_pixels), data, source_name(source)).numpy()
    return pixels


@functools.lru_cache(maxsize=8)
def _decoder(max_pixels: int) -> Any:
    """Graph function, () string -> (H, W, 3) uint8, upright."""

    def upright(data: Any) -> Any:
        pixels = decode(data, at_least=_EVERY_PIXEL, stretch=True, max_pixels=max_pixels)
        return turn_upright(pixels, read_orientation(data))

    return tf.function(upright, input_signature=[tf.TensorSpec((), tf.string)])
