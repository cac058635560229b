"""Reads an image file, or a box of it, as plain upright pixels: for queries that are a part of an image."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import Image

from tfvlad.errors import ImageError
from tfvlad.images import Box
from tfvlad.images._decoding import decode, dimensions
from tfvlad.images._orientation import read_orientation, turn_upright
from tfvlad.images.files import read_file
from tfvlad.images.formats import recognise
from tfvlad.images.libraries import library_format, library_pixels, library_size
from tfvlad.images.loading import by_known_format, rgb_pixels, run_decoder
from tfvlad.images.sources import Source, source_name

_EVERY_PIXEL = 2**24  # pixels of a side; no image has so many, so that none is decoded at a reduced size


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
      ImageError: the file cannot be read, or less than half of the box lies inside the image. The latter happens where
        the box was drawn on a version of the image that has another size.
    """
    return crop(read_upright(path, max_pixels), box, path)


def crop(pixels: npt.NDArray[np.uint8], box: Box, name: str) -> npt.NDArray[np.uint8]:
    """Cuts a box out of an image's upright pixels, (H, W, 3); see `read_crop`.

    Args:
      pixels: the image.
      box: as in `read_crop`.
      name: of the image, for messages.
    """
    height, width, _ = pixels.shape
    if not all(math.isfinite(side) and abs(side) < _EVERY_PIXEL for side in box):
        raise ImageError(name, f"a box is four numbers of pixels, got {box}")
    x1, y1, x2, y2 = (round(side) for side in box)
    left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
    inside = max(right - left, 0) * max(bottom - top, 0)
    if inside == 0 or 2 * inside < (x2 - x1) * (y2 - y1):
        raise ImageError(name, f"the box {x1},{y1} to {x2},{y2} is not inside its {width} x {height} pixels")
    return pixels[top:bottom, left:right]


def read_upright(source: Source, max_pixels: int, longest_side: int | None = None) -> npt.NDArray[np.uint8]:
    """Decodes an image as `tfvlad.images.loading` does and turns it upright: (H, W, 3) uint8 RGB.

    Args:
      source: the path of an image file, its bytes, or pixels, which stay in full size.
      max_pixels: see `tfvlad.EncoderConfig`.
      longest_side: pixels; an image whose longest side has more is made smaller, to no less than this. None leaves it
        in full size.

    Raises:
      ImageError: the file cannot be read.
    """
    if isinstance(source, np.ndarray):
        return np.asarray(rgb_pixels(source))
    data, name = source if isinstance(source, bytes) else read_file(source), source_name(source)
    if library_format(data, name):
        return library_pixels(data, name, max_pixels, longest_side=longest_side)[0]
    decoder = _decoder(max_pixels, longest_side or _EVERY_PIXEL)
    pixels: npt.NDArray[np.uint8] = run_decoder(decoder, data, name).numpy()
    factor = max(pixels.shape[:2]) // (longest_side or _EVERY_PIXEL)
    if factor < 2:
        return pixels
    return np.asarray(Image.fromarray(pixels).reduce(factor))


def upright_size(source: Source) -> tuple[int, int]:
    """Width and height of a picture in pixels, upright, from its file's header alone.

    Args:
      source: the path of an image file, its bytes, or pixels (H, W, ...).

    Raises:
      ImageError: the file cannot be read, or is damaged where the size stands.
    """
    if isinstance(source, np.ndarray):
        if source.ndim < 2:
            raise ImageError("<array>", f"pixels must be (H, W, 3), (H, W, 4) or (H, W), got shape {source.shape}")
        return source.shape[1], source.shape[0]
    data, name = source if isinstance(source, bytes) else read_file(source), source_name(source)
    if (form := recognise(data)) and not form.in_graph:
        form.require_library(name)
        return library_size(data, name)
    width, height = run_decoder(_measurer(), data, name).numpy().tolist()
    if min(width, height) < 1:
        raise ImageError(name, f"a damaged or truncated header of {width}x{height} pixels")
    return width, height


@functools.lru_cache(maxsize=8)
def _decoder(max_pixels: int, at_least: int) -> Any:
    """Graph function for `run_decoder`; it gives (H, W, 3) uint8, upright."""

    def upright(data: Any, known_format: int) -> Any:
        limits: dict[str, Any] = {"at_least": at_least, "stretch": False, "max_pixels": max_pixels}
        pixels = decode(data, **limits, known_format=known_format)
        return turn_upright(pixels, read_orientation(data, known_format))

    return by_known_format(upright)


@functools.cache
def _measurer() -> Any:
    """Graph function for `run_decoder`; it gives (width, height) int64, upright."""

    def measure(data: Any, known_format: int) -> Any:
        size = dimensions(data, known_format)
        return tf.cond(read_orientation(data, known_format) >= 5, lambda: size[::-1], lambda: size)

    return by_known_format(measure)
