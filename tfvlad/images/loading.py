"""Prepares an image for a network: reads it, decodes it, turns it upright, resizes it and scales its pixels.

Fitting, indexing, searching and the exported model share this one preprocessing. Everything after the reading of the
file is TensorFlow graph code, so an exported model prepares an image exactly as indexing did. A file that the graph
does not decode becomes pixels before, see `tfvlad.images.libraries`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvlad.config import MAX_PIXELS, Resize
from tfvlad.errors import ImageError
from tfvlad.images._decoding import decode, on_white, try_decode
from tfvlad.images._headers import FORMATS, format_of, image_format
from tfvlad.images._orientation import read_orientation, turn_upright
from tfvlad.images.files import read_file
from tfvlad.images.libraries import library_format, library_pixels, sides_for
from tfvlad.images.sources import Source, source_name
from tfvlad.named_networks import Preprocessing

Tensor = Any

# Raised whenever the pixels that the network sees change, so that older descriptors are not mixed with newer ones.
VERSION = 1

_WIDE = 2**14  # pixels; a wider image is resized lying on its side

_IMAGENET_MEAN_RGB = (0.485, 0.456, 0.406)
_IMAGENET_STD_RGB = (0.229, 0.224, 0.225)
_IMAGENET_MEAN_BGR_255 = (103.939, 116.779, 123.68)


class ImageLoader:
    """Turns one image at a time into the tensor that a network takes.

    Example:
      >>> ImageLoader(224, "stretch", "caffe").load("photograph.jpg").shape
      TensorShape([224, 224, 3])

    Args:
      image_size: see `tfvlad.config.EncoderConfig`, as for the other three.
      resize: ``stretch`` or ``fit``.
      preprocessing: how pixels are scaled.
      max_pixels: an image with more is refused.

    Attributes:
      from_bytes: graph function, () string and the format, see `run_decoder` -> (h, w, 3) float32.
      try_bytes: graph function, () string -> the same without failing, and () bool, False where `from_bytes` would
        fail. The image is then meaningless.
      from_pixels: graph function, (H, W, 3) uint8 -> (h, w, 3) float32.
    """

    def __init__(
        self, image_size: int, resize: Resize, preprocessing: Preprocessing, max_pixels: int = MAX_PIXELS
    ) -> None:
        self._image_size, self._max_pixels = image_size, max_pixels
        limits: dict[str, Any] = {"at_least": image_size, "stretch": resize == "stretch", "max_pixels": max_pixels}

        def prepare(pixels: Tensor, data: Tensor, known_format: int | None = None) -> Tensor:
            image = fit_to(pixels, image_size, resize)
            return preprocess(turn_upright(image, read_orientation(data, known_format)), preprocessing)

        def from_bytes(data: Tensor, known_format: int) -> Tensor:
            return prepare(decode(data, **limits, known_format=known_format), data, known_format)

        def try_bytes(data: Tensor) -> tuple[Tensor, Tensor]:
            pixels, succeeded = try_decode(data, **limits)
            return prepare(pixels, tf.where(succeeded, data, b"")), succeeded

        def from_pixels(pixels: Tensor) -> Tensor:
            return preprocess(fit_to(pixels, image_size, resize), preprocessing)

        def at_size(pixels: Tensor, side: Tensor) -> Tensor:
            return preprocess(fit_to(pixels, side, resize), preprocessing)

        data, picture = tf.TensorSpec((), tf.string), tf.TensorSpec((None, None, 3), tf.uint8)
        self.from_bytes = by_known_format(from_bytes)
        self.try_bytes: Callable[[Tensor], tuple[Tensor, Tensor]] = tf.function(try_bytes, [data], autograph=False)
        self.from_pixels: Callable[[Tensor], Tensor] = tf.function(from_pixels, [picture], autograph=False)
        self._at_size: Callable[[Tensor, Tensor], Tensor] = tf.function(
            at_size, [picture, tf.TensorSpec((), tf.int32)], autograph=False
        )

    def load(self, source: Source) -> Tensor:
        """Reads and prepares one image.

        Args:
          source: a path, an image file's bytes, or pixels: (H, W, 3) RGB, (H, W, 4) RGBA or (H, W) grey, uint8.

        Returns:
          (h, w, 3) float32.

        Raises:
          ImageError: the file cannot be read, or it is not an image that can be decoded.
        """
        if isinstance(source, np.ndarray):
            return self.from_pixels(rgb_pixels(source))
        name = source_name(source)
        data = source if isinstance(source, bytes) else read_file(source)
        if library_format(data, name):
            pixels, _ = library_pixels(data, name, self._max_pixels, shortest_side=sides_for(self._image_size))
            with tf.device("CPU"):
                return self.from_pixels(tf.constant(pixels))
        return run_decoder(self.from_bytes, data, name)

    def load_pixels(self, pixels: npt.NDArray[np.uint8], side: int) -> Tensor:
        """Prepares pixels at another size than `image_size`.

        Args:
          pixels: (H, W, 3) uint8 RGB.
          side: pixels; takes the place of `image_size`.

        Returns:
          (h, w, 3) float32.
        """
        with tf.device("CPU"):
            return self._at_size(tf.constant(pixels), tf.constant(side))


def by_known_format(function: Callable[..., Tensor]) -> Callable[[Tensor, int], Tensor]:
    """Makes a graph function for each format, which `run_decoder` takes, of a function of data and `known_format`.

    Each is traced when it is first called. A single one for all would be traced anew for each format, of which
    TensorFlow warns.
    """
    data = tf.TensorSpec((), tf.string)
    graphs = [
        tf.function(functools.partial(function, known_format=known), [data], autograph=False)
        for known in range(len(FORMATS) + 1)
    ]
    return lambda data, known: graphs[known](data)


def run_decoder(decoder: Callable[[Tensor, int], Tensor], data: bytes, name: str) -> Tensor:
    """Runs a graph function that decodes a file's bytes on the CPU.

    The function is given the bytes, () string, and what `tfvlad.images._headers.format_of` says of them: there is one
    graph for each format that occurs.

    Raises:
      ImageError: the bytes are not an image that can be decoded; `name` is the error's path.
    """
    if not data:
        raise ImageError(name, "an empty file")
    try:
        with tf.device("CPU"):
            return decoder(tf.constant(data), format_of(data))
    except (tf.errors.OpError, UnicodeDecodeError) as error:  # TensorFlow's message may quote the file's bytes
        raise ImageError(name, _reason(data, error)) from None


@functools.lru_cache(maxsize=8)
def image_loader(
    image_size: int, resize: Resize, preprocessing: Preprocessing, max_pixels: int = MAX_PIXELS
) -> ImageLoader:
    """The loader for these settings; its graph is traced once in a process."""
    return ImageLoader(image_size, resize, preprocessing, max_pixels)


def is_image(data: Tensor) -> Tensor:
    """Tells files that may be images by their first bytes, in a graph: (...) string -> (...) bool."""
    return image_format(data) < len(FORMATS)


def fit_to(image: Tensor, image_size: int | Tensor, resize: Resize) -> Tensor:
    """Resizes with an anti-aliased bilinear filter.

    Args:
      image: (H, W, 3) uint8.
      image_size: pixels, also as a () int32 tensor; see `resize`.
      resize: ``stretch`` gives (image_size, image_size, 3); ``fit`` makes the longest side image_size pixels, up or
        down, and keeps the aspect ratio to the nearest pixel.

    Returns:
      (h, w, 3) float32 in [0, 255].
    """
    if resize == "stretch":
        return _resize(image, tf.stack([image_size, image_size]))
    sides = tf.cast(tf.shape(image)[:2], tf.float64)
    scaled = tf.round(sides * (tf.cast(image_size, tf.float64) / tf.reduce_max(sides)))
    return _resize(image, tf.maximum(tf.cast(scaled, tf.int32), 1))


def _resize(image: Tensor, size: Tensor) -> Tensor:
    """Resizes to (h, w), with little memory also for very wide images.

    TensorFlow changes the height first, and holds h rows of the image's full width as floats before it changes the
    width. Where the image is so wide that this takes more memory than the largest photograph, it is transposed before.
    """

    def on_its_side() -> Tensor:
        turned = tf.transpose(image, (1, 0, 2))
        return tf.transpose(tf.image.resize(turned, size[::-1], antialias=True), (1, 0, 2))

    is_wide = tf.shape(image)[1] > tf.maximum(tf.shape(image)[0], _WIDE)
    return tf.cond(is_wide, on_its_side, lambda: tf.image.resize(image, size, antialias=True))


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


def _reason(data: bytes, error: tf.errors.OpError | UnicodeDecodeError) -> str:
    """Turns a decoder's error, which names lines of C++ code, into one plain line about the image file."""
    if isinstance(error, tf.errors.ResourceExhaustedError):
        return "there is not enough memory to decode it"
    asserted = re.search(r"assertion failed: \[b?'?(.+?)'?\]", str(error))
    if asserted:
        return asserted[1]
    return f"a damaged or truncated {FORMATS[format_of(data)]}"
