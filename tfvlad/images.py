"""Files, bytes and arrays -> upright, resized, preprocessed tensors: the one preprocessing of fitting, indexing,
searching and of the exported model.

Everything behind the reading of the file is TensorFlow graph code, so what an export serves is what was indexed.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvlad.config import Preprocessing, Resize
from tfvlad.decoding import decode, on_white
from tfvlad.errors import ImageError
from tfvlad.headers import FORMATS, image_format
from tfvlad.orientation import read_orientation, turn_upright

Tensor = Any
Source: TypeAlias = str | os.PathLike[str] | bytes | npt.NDArray[np.uint8]

# Raised whenever the pixels that the network sees change, so that older descriptors are not mixed with newer ones.
VERSION = 1

_IMAGENET_MEAN_RGB = (0.485, 0.456, 0.406)
_IMAGENET_STD_RGB = (0.229, 0.224, 0.225)
_IMAGENET_MEAN_BGR_255 = (103.939, 116.779, 123.68)


class ImageLoader:
    """Turns one image at a time into the tensor that a network takes.

    Attributes:
      from_bytes: graph function, () string -> (h, w, 3) float32.
      from_pixels: graph function, (H, W, 3) uint8 -> (h, w, 3) float32.
    """

    def __init__(self, image_size: int, resize: Resize, preprocessing: Preprocessing) -> None:
        """See `tfvlad.config.EncoderConfig` for the arguments."""

        def from_bytes(data: Tensor) -> Tensor:
            image = fit_to(decode(data, at_least=image_size, stretch=resize == "stretch"), image_size, resize)
            return preprocess(turn_upright(image, read_orientation(data)), preprocessing)

        def from_pixels(pixels: Tensor) -> Tensor:
            return preprocess(fit_to(pixels, image_size, resize), preprocessing)

        self.from_bytes: Callable[[Tensor], Tensor] = tf.function(
            from_bytes, input_signature=[tf.TensorSpec((), tf.string)]
        )
        self.from_pixels: Callable[[Tensor], Tensor] = tf.function(
            from_pixels, input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)]
        )

    def load(self, source: Source) -> Tensor:
        """Reads and prepares one image.

        Args:
          source: a path, an image file's bytes, or pixels: (H, W, 3) RGB, (H, W, 4) RGBA or (H, W) grey, uint8.

        Returns:
          (h, w, 3) float32.

        Raises:
          ImageError: the file cannot be read, or what is in it is no picture.
        """
        if isinstance(source, np.ndarray):
            return self.from_pixels(rgb_pixels(source))
        name = source_name(source)
        data = source if isinstance(source, bytes) else read_file(source)
        if not data:
            raise ImageError(name, "an empty file")
        try:
            with tf.device("CPU"):
                return self.from_bytes(tf.constant(data))
        except tf.errors.OpError as error:
            raise ImageError(name, _reason(data, error)) from None


@functools.lru_cache(maxsize=8)
def image_loader(image_size: int, resize: Resize, preprocessing: Preprocessing) -> ImageLoader:
    """The loader for these settings; its graph is traced once in a process."""
    return ImageLoader(image_size, resize, preprocessing)


def fit_to(image: Tensor, image_size: int, resize: Resize) -> Tensor:
    """Resizes with an anti-aliased bilinear filter.

    Args:
      image: (..., H, W, 3) uint8, one image or several of one size.
      image_size: pixels; see `resize`.
      resize: ``stretch`` gives a square of image_size; ``fit`` makes the longest side image_size pixels, up or
        down, and keeps the aspect ratio to the nearest pixel.

    Returns:
      (..., h, w, 3) float32 in [0, 255].
    """
    if resize == "stretch":
        return tf.image.resize(image, (image_size, image_size), antialias=True)
    sides = tf.cast(tf.shape(image)[-3:-1], tf.float64)
    scaled = tf.round(sides * (image_size / tf.reduce_max(sides)))
    return tf.image.resize(image, tf.maximum(tf.cast(scaled, tf.int32), 1), antialias=True)


def preprocess(image: Tensor, mode: Preprocessing) -> Tensor:
    """Scales pixels the way that a network was trained with (the modes of `keras.applications`).

    Args:
      image: (..., 3) float32 RGB in [0, 255].
      mode: ``caffe`` BGR minus the ImageNet mean; ``tf`` to [-1, 1]; ``torch`` to [0, 1], then standardised with
        the ImageNet mean and deviation; ``none`` leaves the values alone.

    Returns:
      (..., 3) float32.
    """
    if mode == "caffe":
        return tf.reverse(image, [-1]) - tf.constant(_IMAGENET_MEAN_BGR_255)
    if mode == "tf":
        return image / 127.5 - 1.0
    if mode == "torch":
        return (image / 255.0 - tf.constant(_IMAGENET_MEAN_RGB)) / tf.constant(_IMAGENET_STD_RGB)
    return image


def source_name(source: Source) -> str:
    """What stands for a source in messages: its path, ``<bytes>`` or ``<array>``."""
    if isinstance(source, np.ndarray):
        return "<array>"
    return "<bytes>" if isinstance(source, bytes) else os.fsdecode(source)


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Reads a whole file.

    Raises:
      ImageError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ImageError(os.fsdecode(path), error.strerror or type(error).__name__) from None


def rgb_pixels(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """Makes (H, W, 3) RGB of (H, W, 3), (H, W, 4) RGBA, composed on white, or (H, W) grey, all uint8.

    Raises:
      ImageError: another shape or dtype.
    """
    if pixels.dtype != np.uint8:
        raise ImageError("<array>", f"pixels must be uint8, got {pixels.dtype}")
    if pixels.size == 0 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))):
        raise ImageError("<array>", f"pixels must be (H, W, 3), (H, W, 4) or (H, W), got shape {pixels.shape}")
    if pixels.ndim == 2:
        return tf.repeat(pixels[..., np.newaxis], 3, axis=2)
    return on_white(pixels) if pixels.shape[2] == 4 else tf.constant(pixels)


def _reason(data: bytes, error: tf.errors.OpError) -> str:
    """One plain line for what a decoder said of its C++ self."""
    asserted = re.search(r"assertion failed: \[b?'?(.+?)'?\]", str(error))
    if asserted:
        return asserted[1]
    code = int(image_format(tf.constant(data)))
    return f"a damaged or truncated {FORMATS[code]}"
